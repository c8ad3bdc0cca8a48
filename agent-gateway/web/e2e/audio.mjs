// An agent who talks by the browser: answers, hears and is heard; reloads, changes the microphone, moves to another tab, and
// goes on after the server was killed. What the caller hears is measured by whoever runs this; what the page hears, here.
import { SHOTS, URL_, axe, check, context, enter, goReady, language, page, seen, shot, sleep, walk } from './chromium.mjs';
import { bench, hearsTone } from './ear.mjs';

/** The caller's tone. */
const HZ = 440;
const hears = (tab, ms) => hearsTone(tab, HZ, ms);
const connected = (tab) => tab.waitForSelector('.audio button[data-tone="ready"]', { timeout: 15_000 }).then(() => true, () => false);
/** A tab that may not use the microphone takes control, and says what to do; the first tab is loaded anew after it. */
async function refused() {
  const tab = await context.newPage();
  await tab.addInitScript(() => {
    MediaDevices.prototype.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'));
  });
  await tab.goto(`${URL_}/desk`);
  const note = await tab.waitForSelector('.idle [role="alert"]', { timeout: 10_000 }).then((el) => el.textContent(), () => null);
  check(note?.includes('麦克风'), 'a microphone that is refused is told in plain words', note ?? 'nothing is said');
  if (SHOTS) await tab.screenshot({ path: `${SHOTS}/audio-refused.png` });
  await tab.close();
  await page.reload();
  check(await connected(page), 'the first tab, loaded anew, has its audio again');
}

await walk('audio', async () => {
  await page.goto(URL_);
  await enter('.idle, .call, .offer');
  check(await connected(page), 'the audio is connected before any call');
  await page.click('.audio button');
  await seen('.audio .panel', 2_000);
  await sleep(400);
  const names = await page.$$eval('.audio select', (selects) => selects.map((s) => s.options.length));
  check(names.length === 3 && names[0] > 2, 'microphone, speaker and ringer are chosen apart', names.join(', '));
  const level = await page.getAttribute('.audio [role="meter"]', 'aria-valuenow');
  check(Number(level) > 20, 'the level of the microphone shows', level ?? '');
  await page.keyboard.press('Escape');
  for (const [width, height] of [[1366, 768], [1920, 1080]]) {
    await page.setViewportSize({ width, height });
    for (const locale of ['zh-CN', 'en']) {
      await language(locale);
      await page.click('.audio button');
      await seen('.audio .panel', 2_000);
      for (const theme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme: theme });
        await sleep(200);
        await axe(`audio, ${width}, ${locale}, ${theme}`);
        await shot(`audio-${width}-${locale}-${theme}`);
      }
      await page.keyboard.press('Escape');
    }
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 1366, height: 768 });
  await language('zh-CN');
  await refused();
  await goReady();
  if (!check(await seen('[role="alertdialog"] .actions', 20_000), 'a pop appears')) return;
  await page.keyboard.press('F2');
  let ms = await hears(page, 8_000);
  check(ms !== null && ms < 1_500, 'F2 answers: the caller is heard', `${ms} ms`);
  await sleep(3_000);

  let began = Date.now();
  await page.reload();
  ms = await hears(page, 8_000);
  check(ms !== null && Date.now() - began <= 2_000, 'a reload in the call: the caller is heard again within 2 s', `${Date.now() - began} ms`);
  check(await seen('.call .timer', 1_000), 'and the call is on the card');
  await sleep(3_000);

  await page.click('.audio button');
  await seen('.audio .panel', 2_000);
  await page.waitForFunction(() => (document.querySelector('.audio select')?.options.length ?? 0) > 2, undefined, { timeout: 3_000 }).catch(() => undefined);
  await page.selectOption('.audio select', { index: 2 });
  await sleep(1_500);
  ms = await hears(page, 2_000);
  check(ms !== null, 'another microphone: the call goes on');
  await axe('audio, in a call');
  await shot('audio-call');
  await page.keyboard.press('Escape');
  await page.keyboard.press('F8');
  check(await seen('.call .chip .sr, .call .timers .chip', 3_000), 'F8 mutes');
  await sleep(1_500);
  await page.keyboard.press('F8');
  await sleep(2_500);

  const second = await context.newPage();
  began = Date.now();
  await second.goto(`${URL_}/desk`);
  ms = await hears(second, 10_000);
  check(ms !== null, 'a second tab takes the call over', `${Date.now() - began} ms`);
  check(await page.waitForSelector('.audio button[data-tone="neutral"]', { timeout: 5_000 }).then(() => true, () => false), 'the first lets its audio go');
  await sleep(2_000);

  await bench('kill');
  await sleep(300);
  await bench('start');
  began = Date.now();
  ms = await second.waitForFunction(() => document.querySelector('.audio button[data-tone="ready"]'), undefined, { timeout: 20_000 }).then(() => hears(second, 15_000), () => null);
  check(ms !== null, 'the server was killed: the caller is heard again', `${Date.now() - began} ms after it was back`);
  await sleep(3_000);
  await second.keyboard.press('F4');
  await second.keyboard.press('F4');
  check(await second.waitForSelector('.wrap', { timeout: 8_000 }).then(() => true, () => false), 'F4 twice hangs up');
});
