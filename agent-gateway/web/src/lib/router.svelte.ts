/** Seven routes and a query; the address is the state. */
export type Route = 'sign-in' | 'desk' | 'history' | 'board' | 'callbacks' | 'voicemails' | 'reports';

/** Every route but the desk stands in the address by its own name. */
const NAMED = ['sign-in', 'history', 'board', 'callbacks', 'voicemails', 'reports'] as const satisfies readonly Route[];

function parse(path: string): Route {
  return NAMED.find((name) => path === `/${name}` || path.startsWith(`/${name}/`)) ?? 'desk';
}

class Router {
  route = $state<Route>(parse(location.pathname));
  /** What follows the route: `/history/CALL_ID`. */
  rest = $state(location.pathname.split('/')[2] ?? '');
  query = $state.raw(new URLSearchParams(location.search));

  constructor() {
    addEventListener('popstate', () => this.#read());
  }
  go(path: string, replace = false): void {
    if (path === location.pathname + location.search) return;
    history[replace ? 'replaceState' : 'pushState'](null, '', path);
    this.#read();
  }
  #read(): void {
    this.route = parse(location.pathname);
    this.rest = location.pathname.split('/')[2] ?? '';
    this.query = new URLSearchParams(location.search);
  }
}
export const router = new Router();

/** For `onclick` of plain links: keeps new-tab clicks the browser's. */
export function follow(event: MouseEvent): void {
  const link = (event.currentTarget as HTMLElement).closest('a');
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  router.go(link.getAttribute('href') ?? '/desk');
}
