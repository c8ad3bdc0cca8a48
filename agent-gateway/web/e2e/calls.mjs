// An agent asks a colleague, swaps, talks with both, and leaves the caller to them, in a real browser against a real server.
//
// As desk.mjs; the user is an agent, 1002 is a colleague whose telephone answers by itself, and one caller rings in and stays.
import { check, enter, everyLook, goReady, page, PATIENCE, POP_WAIT_MS, scrolls, seen, SHOTS, shot, sleep, URL_, walk } from './chromium.mjs';

const button = (name) => `.call button:has-text("${name}")`;
const text = (selector) => page.textContent(selector).catch(() => '');

await walk('calls', async () => {
  await page.goto(`${URL_}/desk`);
  check(await seen('#tenant', 10_000), 'the desk asks to sign in first');
  await enter('.desk');
  await goReady();
  check(await seen('[role="alertdialog"] .actions', POP_WAIT_MS / PATIENCE), 'a pop appears');
  await page.keyboard.press('F2');
  check(await seen('.call .controls', 8_000), 'the call is up');

  await page.click(button('转接'));
  check(await seen('.picker input:focus', 2_000), 'the picker opens, ready to type in');
  check((await page.$$('.picker li')).length >= 4, 'it lists the colleague and the queues');
  await everyLook('call-picker');
  await page.fill('.picker input', '13900139000');
  check(await seen('.picker li:has-text("13900139000")', 1_000), 'a number can be dialled');
  await page.keyboard.press('Escape');
  check((await page.$$('.picker')).length === 0, 'Escape closes it');

  await page.click(button('咨询'));
  await page.fill('.picker input', '1002');
  await page.keyboard.press('Enter');
  check(await seen('.parties li:nth-child(3) [data-tone="talking"]', 8_000), 'the colleague is on the call', (await text('.parties')) ?? '');
  check(await seen('.parties li:first-child [data-tone="held"]', 2_000), 'the caller hears music');
  check(await page.isDisabled('.call .btn.large'), 'nobody is hung up on by mistake meanwhile');
  await everyLook('call-consulting');
  await page.click(button('切换'));
  check(await seen('.parties li:first-child [data-tone="talking"]', 3_000), 'swapped: with the caller');
  await page.click(button('三方通话'));
  check(await seen(button('离开'), 3_000), 'all talk together');
  check(!(await scrolls()), 'no page scroll at 1366x768');
  await everyLook('call-conference');
  if (SHOTS) {
    await page.setViewportSize({ width: 1920, height: 1080 });
    await shot('call-conference-1920');
    await page.setViewportSize({ width: 1366, height: 768 });
  }
  await page.reload();
  check(await seen('.parties li:nth-child(3)', 5_000), 'a reload keeps who is on the call');
  await page.keyboard.press('F4');
  await page.keyboard.press('F4');
  check(await seen('.wrap', 5_000), 'left to the colleague: wrap-up');
  await sleep(300);
  await everyLook('call-handed-on');
});
