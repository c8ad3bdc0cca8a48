import { expect, it } from 'vitest';
import { backoffMs, CEILING_MAX_MS, resendable } from './backoff';

it('reconnects at once the first time', () => {
  expect(backoffMs(0, 0.99)).toBe(0);
});
it('then waits anything under a doubling ceiling, at most 30 s', () => {
  expect(backoffMs(1, 0)).toBe(0);
  expect(backoffMs(1, 0.999)).toBe(999);
  expect(backoffMs(3, 0.5)).toBe(2_000);
  expect(backoffMs(500, 0.999_999)).toBeLessThan(CEILING_MAX_MS);
  expect(backoffMs(500, 0.999_999)).toBeGreaterThan(CEILING_MAX_MS - 100);
});
it('resends a command only while it is younger than 5 s', () => {
  expect(resendable(1_000, 5_999)).toBe(true);
  expect(resendable(1_000, 6_000)).toBe(false);
});
