// What the walks in Chromium have in common: the browser, one line a check, axe, pictures, signing in.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const env = (name, fallback) => {
  const value = process.env[name] ?? fallback;
  if (value === undefined) {
    console.error(`set ${name}`);
    process.exit(2);
  }
  return value;
};
export const URL_ = env('ZONGJI_URL', 'http://127.0.0.1:8080').replace(/\/$/, '');
export const [TENANT, USER, PASSWORD] = [env('ZONGJI_TENANT'), env('ZONGJI_USER'), env('ZONGJI_PASSWORD')];
export const SHOTS = process.argv[2] === 'screenshots' ? (process.argv[3] ?? 'screenshots') : null;
export const POP_WAIT_MS = Number(process.env.ZONGJI_POP_WAIT_MS ?? 90_000);
/** On a busy machine everything takes longer; what must be quick is measured, not waited for. */
export const PATIENCE = 3;

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
const ARGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required',
];
/** A WAV file stands for every microphone, without asking. */
const CAPTURE = process.env.ZONGJI_CAPTURE;
if (CAPTURE) ARGS.push('--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', `--use-file-for-fake-audio-capture=${CAPTURE}`);

/** The server's certificate is the test's own. */
if (process.env.ZONGJI_SOCKET?.startsWith('wss:')) ARGS.push('--ignore-certificate-errors');
/** A network that lets no datagrams through. */
export const NO_UDP = process.env.ZONGJI_NO_UDP === '1';
if (NO_UDP) ARGS.push('--webrtc-ip-handling-policy=disable_non_proxied_udp');

let failed = 0;
let passed = 0;
export function check(ok, what, detail = '') {
  if (ok) passed += 1;
  else failed += 1;
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${what}${detail ? ` (${detail})` : ''}`);
  return ok;
}

const profile = mkdtempSync(join(tmpdir(), 'zongji-walk-'));
export const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: ARGS,
  viewport: { width: 1366, height: 768 },
  locale: 'zh-CN',
  colorScheme: 'light',
});
export const page = context.pages()[0] ?? (await context.newPage());
const errors = [];
page.on('pageerror', (error) => errors.push(error.message));
export const sleep = (ms) => page.waitForTimeout(ms);
export const seen = (selector, ms) => page.waitForSelector(selector, { timeout: ms * PATIENCE }).then(() => true, () => false);

export async function shot(name) {
  if (!SHOTS) return;
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: join(SHOTS, `${name}.png`) });
}
export async function axe(what) {
  await page.evaluate(AXE);
  const violations = await page.evaluate(async (rules) => {
    const result = await globalThis.axe.run(document, { runOnly: rules });
    return result.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 2).map((n) => n.target.join(' ')).join(', ')}`);
  }, RULES);
  check(violations.length === 0, `axe: ${what}`, violations.join(' | '));
}
export async function language(locale) {
  if ((await page.getAttribute('html', 'lang')) === locale) return;
  await page.click(`button[lang="${locale}"]`);
  await page.waitForFunction((l) => document.documentElement.lang === l, locale);
}
/** A page in both languages and both themes. */
export async function everyLook(name) {
  for (const locale of ['zh-CN', 'en']) {
    await language(locale);
    for (const theme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme: theme });
      await sleep(120);
      await axe(`${name}, ${locale}, ${theme}`);
      await shot(`${name}-${locale}-${theme}`);
    }
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await language('zh-CN');
}
export const scrolls = () =>
  page.evaluate(() => document.documentElement.scrollHeight > innerHeight || document.documentElement.scrollWidth > innerWidth);

/** Signs in; `selector` is what the first page of this role shows. */
export async function enter(selector) {
  await page.fill('#tenant', TENANT);
  await page.fill('#user', USER);
  await page.fill('#password', PASSWORD);
  await page.click('form button.primary');
  return check(await seen(selector, 10_000), 'signs in', page.url());
}
/** The desk shows nothing to press until it has its state from the server: what it shows first is waited for. */
export async function goReady() {
  const [go, at_work] = ['.idle button.solid', 'header [data-tone="ready"], [role="alertdialog"], .call'];
  if (!(await seen(`${go}, ${at_work}`, 10_000))) return check(false, 'goes ready', 'the desk has no state from the server');
  const button = await page.$(go);
  if (button) await button.click();
  return check(await seen(at_work, 5_000), 'goes ready');
}

/** Walks, and ends the process with what came of it. */
export async function walk(name, steps) {
  try {
    await steps();
    check(errors.length === 0, 'no error in the page', errors.slice(0, 2).join(' | '));
  } catch (error) {
    check(false, 'the walk came to its end', error.message.split('\n')[0]);
    await shot('failed');
  } finally {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  }
  console.log(`${name}: ${passed} passed, ${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
}
