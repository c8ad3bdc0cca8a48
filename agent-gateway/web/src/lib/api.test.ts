import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ApiError, get, patch, post } from './api';

type Answer = { status: number; body?: unknown; retryAfter?: string } | 'refused';
let answers: Answer[];
let sent: Array<{ path: string; key: string | null }>;

beforeEach(() => {
  vi.useFakeTimers();
  sent = [];
  vi.stubGlobal('fetch', async (path: string, init: RequestInit) => {
    sent.push({ path, key: new Headers(init.headers).get('Idempotency-Key') });
    const answer = answers.shift() ?? 'refused';
    if (answer === 'refused') throw new TypeError('Failed to fetch');
    const headers = new Headers(answer.retryAfter ? [['Retry-After', answer.retryAfter]] : []);
    return new Response(JSON.stringify(answer.body ?? {}), { status: answer.status, headers });
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});
/** The outcome, with all waiting done at once. */
async function settle<T>(work: Promise<T>): Promise<T | ApiError> {
  const settled = work.catch((error: ApiError) => error);
  await vi.advanceTimersByTimeAsync(60_000);
  return settled;
}
const starting: Answer = { status: 503, body: { type: 'urn:zongji:problem:not_ready', title: 'Service Unavailable' }, retryAfter: '1' };

it('a server that starts again is waited for', async () => {
  answers = ['refused', 'refused', starting, { status: 200, body: { id: 'x' } }];
  expect(await settle(get('me'))).toEqual({ id: 'x' });
  expect(sent).toHaveLength(4);
});
it('a write is sent again with its own key, so that it is done once', async () => {
  answers = ['refused', { status: 409, body: { type: 'urn:zongji:problem:still_running' }, retryAfter: '1' }, { status: 201, body: { id: 'case' } }];
  expect(await settle(post('cases', {}, 'k1'))).toEqual({ id: 'case' });
  expect(sent.map((s) => s.key)).toEqual(['k1', 'k1', 'k1']);
  answers = ['refused', { status: 201 }];
  await settle(post('customers', {}));
  expect(sent[3]?.key).toBe(sent[4]?.key);
});
it('a change by version is not sent again: it would find its own work a conflict', async () => {
  answers = ['refused', { status: 409 }];
  expect(await settle(patch('cases/1', { version: 1 }))).toMatchObject({ status: 0 });
  expect(sent).toHaveLength(1);
});
it('what is refused for its content is not sent again', async () => {
  answers = [{ status: 422, body: { field: 'place', detail: 'x' } }];
  expect(await settle(post('cases', {}))).toMatchObject({ status: 422, field: 'place' });
  expect(sent).toHaveLength(1);
});
it('a server that stays away is said to, after some seconds', async () => {
  answers = [];
  expect(await settle(get('me'))).toMatchObject({ status: 0, title: 'offline' });
  expect(sent.length).toBeGreaterThan(3);
});
