import { expect, it } from 'vitest';
import { dateOf, dayStart } from './zone';

it('a day starts at the zone’s midnight', () => {
  expect(dayStart('2026-11-22', 'Asia/Shanghai')).toBe(Date.UTC(2026, 10, 21, 16));
  expect(dayStart('2026-11-22', 'UTC', 1)).toBe(Date.UTC(2026, 10, 23));
});
it('also on the nights when clocks change', () => {
  expect(dayStart('2026-03-29', 'Europe/Berlin')).toBe(Date.UTC(2026, 2, 28, 23));
  expect(dayStart('2026-03-29', 'Europe/Berlin', 1)).toBe(Date.UTC(2026, 2, 29, 22));
});
it('what is no date is none', () => {
  expect(dayStart('22.11.2026', 'UTC')).toBeNull();
});
it('late in the evening in London it is tomorrow in Shanghai', () => {
  expect(dateOf(Date.UTC(2026, 10, 22, 20), 'Asia/Shanghai')).toBe('2026-11-23');
});
