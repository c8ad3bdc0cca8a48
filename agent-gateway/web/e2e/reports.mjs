// The lists of those who run the centre, in a real browser: who is to be called back, and the figures of queues and agents.
//
// As desk.mjs; the user is an administrator, `+86` may be dialled, one caller talks and one waits.
import { axe, check, enter, everyLook, page, scrolls, seen, SHOTS, sleep, URL_, walk } from './chromium.mjs';

const HOUR_MS = 3_600_000;

/** Asks the API as the page does. */
const ask = (path, body) =>
  page.evaluate(
    async ([path, body]) => {
      const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': crypto.randomUUID() };
      const answer = await fetch(`/api/v1/${path}`, body ? { method: 'POST', headers, body: JSON.stringify(body) } : {});
      return { status: answer.status, text: await answer.text() };
    },
    [path, body],
  );
async function sizes(name) {
  check(!(await scrolls()), `no page scroll on ${name} at 1366x768`);
  await everyLook(name);
  await page.setViewportSize({ width: 1920, height: 1080 });
  check(!(await scrolls()), `no page scroll on ${name} at 1920x1080`);
  if (SHOTS) await everyLook(`${name}-1920`);
  await page.setViewportSize({ width: 1366, height: 768 });
}

await walk('reports', async () => {
  await page.goto(`${URL_}/callbacks`);
  check(await seen('#tenant', 10_000), 'the list asks to sign in first');
  await enter('main.callbacks');
  check(await seen('.callbacks .table .empty', 5_000), 'nobody waits to be called back yet');
  const due = { queue: 'repair', due_ms: Date.now() + HOUR_MS };
  for (const number of ['13805310001', '13805310002']) {
    const { status, text } = await ask('callbacks', { ...due, number });
    check(status === 201, `a callback to ${number} is promised`, status === 201 ? '' : text);
  }
  await page.click('.callbacks form .end .btn:last-child');
  check(await seen('.callbacks tbody tr:nth-child(2)', 10_000), 'both are listed');
  await sizes('callbacks');
  await page.click('.callbacks tbody tr:first-child .do button');
  await page.click('.callbacks tbody tr:first-child .do button');
  check(await seen('.callbacks tbody tr:first-child [data-tone="neutral"]', 5_000), 'one is called off');
  await page.selectOption('.callbacks form select', 'waiting');
  await page.waitForFunction(() => document.querySelectorAll('.callbacks tbody tr').length === 1, null, { timeout: 15_000 }).catch(() => {});
  check((await page.$$('.callbacks tbody tr')).length === 1, 'the other one waits still');
  check(page.url().endsWith('/callbacks?state=waiting'), 'the filter is in the address', page.url());

  await page.click('nav a[href="/reports"]');
  check(await seen('.reports .intervals tbody tr', 10_000), "today's figures are there");
  const cell = async (row, column) => (await page.textContent(`.reports .whole ${row} td:nth-child(${column})`))?.trim();
  check((await cell('tbody tr:first-child', 2)) === '2', 'both calls were offered', await cell('tbody tr:first-child', 2));
  await page.selectOption('.reports .formula select', 'of_answered');
  await sleep(200);
  check((await cell('tbody tr:first-child', 7)) === '100%', 'of those answered all were in time', await cell('tbody tr:first-child', 7));
  check(page.url().includes('formula=of_answered'), 'the formula is in the address');
  await sizes('reports-queues');
  const csv = await ask((await page.getAttribute('.reports a[download]', 'href')).replace('/api/v1/', ''));
  check(csv.text.startsWith('start_ms,end_ms,queue,offered'), 'CSV has the same rows', csv.text.split('\n')[1]?.slice(0, 60));
  await page.click('.reports .group:first-child button:last-child');
  check(await seen('.reports .intervals tbody tr', 10_000), "the agents' figures are there");
  check((await page.textContent('.reports .whole tbody tr:first-child'))?.includes('1001'), 'by name');
  await sizes('reports-agents');
  await page.fill('.reports .date input', '2020-01-01');
  await page.dispatchEvent('.reports .date input', 'change');
  check(await seen('.reports [role="alert"]', 10_000), 'too long a time is said to be');
  await axe('reports, refused');
});
