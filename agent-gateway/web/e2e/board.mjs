// A supervisor's board in a real browser: queues, agents and calls as they are, and what goes wrong, on every page.
//
// As desk.mjs; the user is a supervisor or an administrator, somebody waits, somebody talks, and nothing can be recorded.
import { axe, check, enter, everyLook, page, scrolls, seen, SHOTS, shot, sleep, URL_, walk } from './chromium.mjs';

await walk('board', async () => {
  await page.goto(`${URL_}/board`);
  check(await seen('#tenant', 10_000), 'the board asks to sign in first');
  await enter('.board .figures, .desk, .history');
  if (!page.url().endsWith('/board')) await page.click('nav a[href="/board"]');
  check(await seen('.board .figures', 5_000), 'the board is there', page.url());

  check(await seen('.agents [data-tone="talking"]', 10_000), 'the agent who talks is shown, with their state');
  check(await seen('.calls [data-tone="held"]', 10_000), 'the caller who waits is shown');
  check((await page.$$('.calls tbody tr')).length === 2, 'both calls are listed');
  const first = await page.textContent('.calls tbody tr:first-child td:nth-child(2)');
  await sleep(2_100);
  check((await page.textContent('.calls tbody tr:first-child td:nth-child(2)')) !== first, 'the time in state runs on', first ?? '');
  check((await page.textContent('.figures dd'))?.trim() === '1', 'the figures count who waits');

  check(await seen('.alarm', 10_000), 'the failed recording is an alarm', ((await page.textContent('.alarm p').catch(() => '')) ?? '').trim().slice(0, 60));
  check(!(await scrolls()), 'no page scroll on the board at 1366x768');
  await everyLook('board');
  await page.setViewportSize({ width: 1920, height: 1080 });
  check(!(await scrolls()), 'no page scroll on the board at 1920x1080');
  if (SHOTS) await everyLook('board-1920');
  await page.setViewportSize({ width: 1366, height: 768 });

  await page.click('nav a[href="/history"]');
  check(await seen('.history', 5_000), 'history opens');
  check(await seen('.alarm', 2_000), 'the alarm stands on history too');
  await axe('history with an alarm');
  await shot('history-alarm');
  await page.click('nav a[href="/desk"]');
  check(await seen('.desk', 5_000), 'the desk opens');
  check(!(await scrolls()), 'no page scroll on the desk with an alarm');
  await everyLook('desk-alarm');
  await page.click('.alarm button');
  check((await page.$$('.alarm')).length === 0, 'it can be put aside');
  await page.click('nav a[href="/board"]');
  check(await seen('.board .figures', 5_000), 'back on the board');
  check((await page.$$('.alarm')).length === 0, 'what was put aside stays so');
  await page.reload();
  check(await seen('.alarm', 10_000), 'for as long as the page lives');

});
