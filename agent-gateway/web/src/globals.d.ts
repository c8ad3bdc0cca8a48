/** This page's build, told to the server in `hello`. */
declare const __BUILD__: string;
