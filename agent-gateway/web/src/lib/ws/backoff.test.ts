import { expect, it } from 'vitest';
import { backoffMs, resendable, STEPS_MS } from './backoff';

it('tries quickly at first, then more slowly', () => {
  expect([0, 1, 2, 3].map((attempt) => backoffMs(attempt, 0.5))).toEqual([100, 250, 500, 1_000]);
});
it('spreads the tries by half of each step', () => {
  expect(backoffMs(0, 0)).toBe(50);
  expect(backoffMs(0, 0.999)).toBe(149);
});
it('a server that is back after a second has seen at least three tries', () => {
  const latest = [0, 1, 2].reduce((sum, attempt) => sum + backoffMs(attempt, 0.999_999), 0);
  expect(latest).toBeLessThan(1_300);
});
it('a thousand desks come spread over time', () => {
  const third = [...Array(1_000).keys()].map((n) => [0, 1, 2].reduce((sum, attempt) => sum + backoffMs(attempt, (n * 0.618_034 * (attempt + 1)) % 1), 0));
  const busiest = Math.max(...third.map((at) => third.filter((other) => other >= at && other < at + 50).length));
  expect(busiest).toBeLessThan(200);
});
it('however long it lasts, the next try is well within the 25 s of grace', () => {
  expect(backoffMs(500, 0.999_999)).toBeLessThan(12_000);
  expect(backoffMs(500, 0)).toBeGreaterThanOrEqual((STEPS_MS.at(-1) ?? 0) / 2);
});
it('resends a command only while it is younger than 5 s', () => {
  expect(resendable(1_000, 5_999)).toBe(true);
  expect(resendable(1_000, 6_000)).toBe(false);
});
