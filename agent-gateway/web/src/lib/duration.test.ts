import { expect, it } from 'vitest';
import { duration, phone } from './duration';

it.each([
  [0, '0:00'], [7_999, '0:07'], [750_000, '12:30'], [3_723_000, '1:02:03'], [-5, '0:00'], [null, '—'], [undefined, '—'],
] as const)('%s ms reads %s', (ms, text) => {
  expect(duration(ms)).toBe(text);
});
it.each([
  ['+8613805310001', '138 0531 0001'], ['13805310001', '138 0531 0001'], ['4001001000', '400 100 1000'],
  ['+14155550100', '+1 415 555 0100'], ['anonymous', 'anonymous'], ['', ''],
])('%s reads %s', (number, text) => {
  expect(phone(number)).toBe(text);
});
