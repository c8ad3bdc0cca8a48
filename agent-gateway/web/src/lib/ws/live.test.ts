import { expect, it } from 'vitest';
import type { CallLive, LiveDelta, QueueLive } from '../generated';
import { liveFrame, NO_LIVE } from './live';

const queue = (name: string, waiting: number): QueueLive => ({
  name, waiting, longest_wait_ms: 0, offered: 0, answered: 0, abandoned: 0, abandoned_ringing: 0, abandoned_short: 0,
  overflowed_in: 0, overflowed_out: 0, service_level: null,
  service_levels: { of_answered: null, of_offered: null, abandons_excluded: null, abandons_included: null },
  asa_ms: null, aht_ms: null, wait_max_ms: 0, agents_ready: 0, agents_staffed: 0,
});
const delta = (over: Partial<LiveDelta>): LiveDelta => ({
  at_ms: 1, full: false, queues: [], agents: [], calls: [], gone_queues: [], gone_agents: [], gone_calls: [], ...over,
});

it('starts full, then takes what changed and drops what went', () => {
  const full = liveFrame(NO_LIVE, 1, delta({ full: true, queues: [queue('a', 1), queue('b', 2)] })).state;
  const next = liveFrame(full, 2, delta({ at_ms: 9, queues: [queue('b', 5), queue('c', 1)], gone_queues: ['a'] })).state;
  expect(next.queues.map((q) => [q.name, q.waiting])).toEqual([['b', 5], ['c', 1]]);
  expect(next.atMs).toBe(9);
});
it('says that it lost a delta, and keeps what it had', () => {
  const full = liveFrame(NO_LIVE, 1, delta({ full: true, queues: [queue('a', 1)] })).state;
  expect(liveFrame(full, 3, delta({ queues: [queue('a', 7)] }))).toEqual({ state: full, lost: true });
});
it('ignores a delta seen before', () => {
  const full = liveFrame(NO_LIVE, 4, delta({ full: true })).state;
  expect(liveFrame(full, 4, delta({ queues: [queue('a', 7)] }))).toEqual({ state: full, lost: false });
});
it('calls come and go by their id, alarms as a whole', () => {
  const call = (id: string): CallLive => ({ id }) as CallLive;
  const alarm = { code: 'journal', message: '', since_ms: 1 };
  const full = liveFrame(NO_LIVE, 1, delta({ full: true, calls: [call('b'), call('c')], alarms: [alarm] })).state;
  const next = liveFrame(full, 2, delta({ calls: [call('a')], gone_calls: ['b'] })).state;
  expect(next.calls.map((c) => c.id)).toEqual(['a', 'c']);
  expect(next.alarms).toEqual([alarm]);
  expect(liveFrame(next, 3, delta({ alarms: [] })).state.alarms).toEqual([]);
});
