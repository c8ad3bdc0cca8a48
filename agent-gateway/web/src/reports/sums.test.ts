import { expect, test } from 'vitest';
import type { AgentRow, QueueRow } from '../lib/generated';
import { byName, sumAgents, sumQueues } from './sums';

const QUEUE: QueueRow = {
  start_ms: 0, end_ms: 900_000, queue: 'repair', offered: 10, overflowed_in: 1, answered: 6, abandoned: 3, abandoned_waiting: 2,
  abandoned_ringing: 1, abandoned_short: 1, overflowed_out: 1, moved: 0, ended: 0, waiting: 0, answered_in_time: 4, abandoned_in_time: 2,
  service_levels: { of_answered: 0.5, of_offered: 0.5, abandons_excluded: 0.5, abandons_included: 0.5 }, asa_ms: 1, aht_ms: 1,
  wait_max_ms: 70_000, wait_answered_ms: 60_000, wait_abandoned_ms: 5_000, handled: 6, talk_ms: 300_000, hold_ms: 60_000, wrapup_ms: 180_000,
};
const AGENT: AgentRow = {
  start_ms: 0, end_ms: 900_000, agent: '1001', offers: 5, answered: 3, rejected: 1, missed: 1, failed: 0, withdrawn: 0, ring_ms: 9_000,
  talk_ms: 200_000, hold_ms: 100_000, wrapup_ms: 100_000, ready_ms: 200_000, offered_ms: 0, talking_ms: 300_000, break_ms: 300_000,
  breaks: { meal: 300_000 }, staffed_ms: 900_000, occupancy: null,
};

test('figures of intervals add up and are divided once, by the four formulas', () => {
  const second = { ...QUEUE, start_ms: 900_000, end_ms: 1_800_000, offered: 2, answered: 2, answered_in_time: 0, abandoned_in_time: 0, handled: 0, wait_max_ms: 90_000 };
  const sum = sumQueues([QUEUE, second]);
  expect(sum?.service_levels).toEqual({ of_answered: 4 / 8, of_offered: 4 / 12, abandons_excluded: 4 / 10, abandons_included: 6 / 12 });
  expect([sum?.start_ms, sum?.end_ms, sum?.wait_max_ms, sum?.asa_ms, sum?.aht_ms]).toEqual([0, 1_800_000, 90_000, 120_000 / 8, 1_080_000 / 6]);
});

test('nothing divided by nothing is unknown', () => {
  const none = sumQueues([{ ...QUEUE, offered: 0, answered: 0, answered_in_time: 0, abandoned_in_time: 0, handled: 0 }]);
  expect([none?.service_levels.of_offered, none?.asa_ms, none?.aht_ms]).toEqual([null, null, null]);
  expect(sumQueues([])).toBeNull();
  expect(sumAgents([{ ...AGENT, break_ms: 900_000 }])?.occupancy).toBeNull();
});

test("an agent's breaks add up by reason, and occupancy leaves them out", () => {
  const sum = sumAgents([AGENT, { ...AGENT, breaks: { meal: 1, '': 2 } }]);
  expect(sum?.breaks).toEqual({ meal: 300_001, '': 2 });
  expect(sum?.occupancy).toBeCloseTo(800_000 / 1_200_000);
});

test('rows of one name stand together', () => {
  const rows = [QUEUE, { ...QUEUE, queue: 'general' }, QUEUE];
  expect(byName(rows, (row) => row.queue, sumQueues).map((row) => [row.queue, row.offered])).toEqual([['general', 10], ['repair', 20]]);
});
