import { expect, it } from 'vitest';
import { bands, columns, gain, within } from './waveform';

it('a column holds the least and the greatest of its buckets', () => {
  const lane = [-100, 200, -300, 50, -10, 10, -20, 32_767];
  const [a, b] = columns(lane, 2, 1);
  expect(a).toEqual([-300 / 32_768, 200 / 32_768]);
  expect(b).toEqual([-20 / 32_768, 32_767 / 32_768]);
});
it('more columns than buckets repeat a bucket, none is empty', () => {
  expect(columns([-8, 8], 3, 1)).toEqual([[-8 / 32_768, 8 / 32_768], [-8 / 32_768, 8 / 32_768], [-8 / 32_768, 8 / 32_768]]);
});
it('the loudest moment fills the lane, and silence is not made loud', () => {
  const peaks = { bucket_ms: 50, duration_ms: 100, customer: [-100, 8_192], agent: [-4_096, 20] };
  expect(8_192 * gain(peaks)).toBeCloseTo(32_768 * 0.92);
  expect(gain({ ...peaks, customer: [-1, 1], agent: [0, 0] })).toBe(1);
});
it('a seek stays inside the recording', () => {
  expect([within(-5, 100), within(50, 100), within(500, 100)]).toEqual([0, 50, 100]);
});
it('a gap stands where its time is, and one outside the recording nowhere', () => {
  const gaps = [
    { from_ms: 1_000, to_ms: 1_500 },
    { from_ms: 9_900, to_ms: 12_000 },
    { from_ms: 3_000, to_ms: 3_000 },
    { from_ms: 20_000, to_ms: 21_000 },
  ];
  expect(bands(gaps, 10_000)).toEqual([
    { left: 10, width: 5, ms: 500 },
    { left: 99, width: 1, ms: 100 },
  ]);
  expect(bands(gaps, 0)).toEqual([]);
});
