// The server is killed in the middle of an agent's call, and started again: the page is never reloaded.
//
// Whoever runs this ends and starts the server: it is asked by a line on stdout, `kill` or `start`, and says `done` on stdin.
// Otherwise as desk.mjs. Two calls must come in, one after the other.
import { createInterface } from 'node:readline';
import { check, enter, goReady, language, page, POP_WAIT_MS, PATIENCE, seen, SHOTS, shot, sleep, URL_, walk } from './chromium.mjs';

/** From a server that answers to a desk that works again; while pictures are taken it is away for so long that tries are rare. */
const BACK_MAX_MS = SHOTS ? 15_000 : 3_000;
const START_MAX_MS = 30_000;

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function ask(what) {
  console.log(what);
  const answer = await answers.next();
  if (answer.value !== 'done') throw new Error(`${what}: ${answer.value}`);
}

const HANG_UP = '.call .btn.large:not([disabled])';
const TITLE = 'input[id$="-title"]';
const TEXT = 'textarea[id$="-description"]';
const seconds = (text) => (text ?? '').trim().split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
const timer = async () => seconds(await page.textContent('.call .timer'));

/** At the end of what the field holds. */
async function type(field, text) {
  await page.focus(field);
  await page.keyboard.press('Control+End');
  await page.keyboard.type(text);
}

/** When the server first says that it is ready. */
async function answering() {
  for (const until = Date.now() + START_MAX_MS; Date.now() < until; await sleep(20)) {
    const answer = await fetch(`${URL_}/readyz`).catch(() => null);
    if (answer?.ok) break;
  }
  return Date.now();
}

/** The server is away while `meanwhile` is done; resolves when the page works again, with how long that took from the start. */
async function crash(what, works, meanwhile = async () => undefined) {
  await ask('kill');
  check(await seen('.away .line', 2_000), `${what}: a calm line says that the connection is made again`, (await page.textContent('.away').catch(() => ''))?.trim());
  await meanwhile();
  const at = Date.now();
  await ask('start');
  const ready = answering();
  const back = await seen(works, START_MAX_MS / PATIENCE);
  const [whole, took] = [Date.now() - at, Date.now() - (await ready)];
  check(back && took <= BACK_MAX_MS, `${what}: the page works again within ${BACK_MAX_MS / 1_000} s`, `${whole} ms from the start, ${Math.max(0, took)} ms from the first answer`);
  check((await page.$$('.away .line')).length === 0, `${what}: the line is gone`);
  check(await page.evaluate(() => globalThis.never_reloaded === true), `${what}: without a reload`);
}

/** The line in the top bar and the card without controls, as pictures. */
async function looksAway() {
  if (!SHOTS) return;
  for (const [width, height] of [[1366, 768], [1920, 1080]]) {
    await page.setViewportSize({ width, height });
    for (const locale of ['zh-CN', 'en']) {
      await language(locale);
      for (const theme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme: theme });
        await sleep(400);
        await shot(`away-${width}-${locale}-${theme}`);
      }
    }
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 1366, height: 768 });
  await sleep(10_000);
  await shot('away-long-en-light');
  await language('zh-CN');
  await shot('away-long-zh-CN-light');
}

async function ringing() {
  check(await seen('[role="alertdialog"] .actions', POP_WAIT_MS / PATIENCE), 'a call rings');
}
async function answer() {
  await page.keyboard.press('F2');
  return check(await seen(HANG_UP, 8_000), 'F2 answers: the call is up');
}

async function inTheCall(title) {
  const candidate = await page.$('.right .choice');
  if (candidate) await candidate.click();
  await page.click('[role="radio"]:first-child');
  await page.fill(TITLE, title);
  await page.fill(TEXT, '客户询问首次保养里程。');
  await sleep(1_500);
  const before = { at: Date.now(), timer: await timer() };
  // The last keys before the crash were not sent to anyone.
  await type(TITLE, '！');
  await crash('in a call', HANG_UP, async () => {
    check((await page.$(HANG_UP)) === null, 'in a call: what can not be done now is not offered');
    await type(TEXT, '崩溃时继续填写。');
    await looksAway();
  });
  check((await page.inputValue(TITLE)) === `${title}！`, 'what was typed before the crash is there', await page.inputValue(TITLE));
  check((await page.inputValue(TEXT)) === '客户询问首次保养里程。崩溃时继续填写。', 'and what was typed during it', await page.inputValue(TEXT));
  const [passed, shown] = [(Date.now() - before.at) / 1_000, (await timer()) - before.timer];
  check(Math.abs(passed - shown) < 1.6, 'the call shows its true time, running on', `${passed.toFixed(1)} s passed, ${shown} s shown`);
  const conflict = await page.$('.conflict, [data-conflict]');
  check(conflict === null, 'no draft is said to have been changed elsewhere');
  await page.keyboard.press('F9');
  check(await seen('.call[data-tone="held"]', 4_000), 'hold works');
  await page.keyboard.press('F9');
  check(await seen('.call[data-tone="talking"]', 4_000), 'retrieve works');

  // Saved while nobody is there to save it: it is saved once, and nobody has to press twice.
  await crash('while saving', HANG_UP, async () => {
    await page.focus(TITLE);
    await page.keyboard.press('Control+Enter');
    await sleep(300);
  });
  check(await seen('.done', 8_000), 'a case saved during a crash is saved', (await page.textContent('.done h2').catch(() => '')) ?? '');
  const found = await page.evaluate(async (wanted) => {
    const { items } = await (await fetch('/api/v1/cases')).json();
    return items.filter((item) => item.title === wanted).length;
  }, `${title}！`);
  check(found === 1, 'the case is there once', `${found}`);
}

async function wrappingUp() {
  await page.keyboard.press('F4');
  await page.keyboard.press('F4');
  check(await seen('.wrap', 5_000), 'hanging up works and starts wrap-up');
  const left = async () => seconds(await page.textContent('.wrap [role="timer"]'));
  const given = await left();
  await page.click('.wrap .row button:not(.primary)');
  for (let n = 0; n < 20 && (await left()) < given + 5; n += 1) await sleep(250);
  check((await left()) > given + 5, 'wrap-up is extended');
  const before = { at: Date.now(), left: await left() };
  await page.selectOption('.wrap select', { index: 1 });
  await crash('in wrap-up', '.wrap button.primary:not([disabled])');
  const [passed, gone] = [(Date.now() - before.at) / 1_000, before.left - (await left())];
  check(Math.abs(passed - gone) < 1.6, 'wrap-up ends when it was to end', `${passed.toFixed(1)} s passed, ${gone} s gone`);
  check((await page.inputValue('.wrap select')) !== '', 'the chosen disposition is there');
  await page.click('.wrap button.primary');
  check(await seen('.idle, [role="alertdialog"]', 5_000), 'wrap-up finishes');
}

await walk('crash', async () => {
  await page.goto(`${URL_}/`);
  check(await seen('#tenant', 10_000), 'the first page asks to sign in');
  await enter('.desk');
  await page.evaluate(() => (globalThis.never_reloaded = true));
  if (SHOTS) for (const locale of ['en', 'zh-CN']) await language(locale);
  await goReady();
  await ringing();
  await answer();
  await inTheCall(`首保咨询 ${Date.now().toString(36)}`);
  await wrappingUp();

  // The second call rings through a crash.
  await ringing();
  await crash('while it rings', '[role="alertdialog"] .actions button:not([disabled])');
  await answer();
  await page.keyboard.press('F4');
  await page.keyboard.press('F4');
  check(await seen('.wrap', 5_000), 'the second call ends as any other');
});
