import { mount } from 'svelte';
import App from './App.svelte';
import './app.css';
import { startI18n } from './lib/i18n/index.svelte';
import { theme } from './lib/theme.svelte';

theme.start();
await startI18n();
mount(App, { target: document.getElementById('app') ?? document.body });
