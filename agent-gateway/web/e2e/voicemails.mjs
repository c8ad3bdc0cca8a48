// Messages as an agent's work, in a real browser: taken, listened to, finished; a colleague's are left alone.
//
// As desk.mjs; the user is an agent, and two callers have left messages.
import { check, enter, everyLook, page, scrolls, seen, SHOTS, URL_, walk } from './chromium.mjs';

async function sizes(name) {
  check(!(await scrolls()), `no page scroll on ${name} at 1366x768`);
  await everyLook(name);
  await page.setViewportSize({ width: 1920, height: 1080 });
  check(!(await scrolls()), `no page scroll on ${name} at 1920x1080`);
  if (SHOTS) await everyLook(`${name}-1920`);
  await page.setViewportSize({ width: 1366, height: 768 });
}
const first = '.voicemails tbody tr:first-child';

await walk('voicemails', async () => {
  await page.goto(`${URL_}/voicemails`);
  check(await seen('#tenant', 10_000), 'the list asks to sign in first');
  await enter('main.voicemails');
  check(await seen('.voicemails tbody tr:nth-child(2)', 10_000), 'both messages are listed');
  await sizes('voicemails');
  await page.click(`${first} .do button.primary`);
  check(await seen(`${first} [data-tone="talking"]`, 10_000), 'one is taken');
  await page.click(`${first} .do button:first-child`);
  check(await seen('.voicemails audio', 5_000), 'there is something to listen to');
  const heard = await page.evaluate(async () => {
    const audio = document.querySelector('.voicemails audio');
    await audio.play();
    await new Promise((done) => setTimeout(done, 1_500));
    audio.pause();
    return { at: audio.currentTime, duration: audio.duration, failed: audio.error?.message ?? '' };
  });
  check(heard.at > 0.5 && heard.duration > 2 && !heard.failed, 'and it is heard', JSON.stringify(heard));
  await page.click(`${first} .do button.primary`);
  check(await seen('.voicemails tr.more input', 5_000), 'what was done is noted');
  await sizes('voicemails-open');
  await page.fill('.voicemails tr.more input', '已回电');
  await page.click('.voicemails tr.more form button');
  check(await seen(`${first} [data-tone="ready"]`, 10_000), 'and it is done');
  check((await page.textContent(first))?.includes('已回电'), 'with its note');
  await page.selectOption('.voicemails form select', 'waiting');
  await page.waitForFunction(() => document.querySelectorAll('.voicemails tbody tr td.do').length === 1, null, { timeout: 15_000 }).catch(() => {});
  check((await page.$$('.voicemails td.do')).length === 1, 'the other one waits still');
  check(page.url().endsWith('/voicemails?state=waiting'), 'the filter is in the address', page.url());
});
