/** Peaks to pixels. Pure. */

/** What `calls/{id}/peaks` answers: least and greatest 16-bit sample of each bucket in turn. */
export interface Peaks {
  bucket_ms: number;
  duration_ms: number;
  customer: number[];
  agent: number[];
}

const FULL = 32_768;
/** Quiet voices would be a flat line: the loudest moment of a call reaches this share of the lane. */
const HEADROOM = 0.92;

/** One lane as `columns` pairs of least and greatest, each in -1 to 1, scaled so that its loudest moment fills the lane. */
export function columns(lane: readonly number[], count: number, scale: number): Array<[number, number]> {
  const buckets = Math.floor(lane.length / 2);
  const out: Array<[number, number]> = [];
  for (let x = 0; x < count; x += 1) {
    const from = Math.floor((x * buckets) / count);
    const to = Math.max(from + 1, Math.floor(((x + 1) * buckets) / count));
    let min = 0;
    let max = 0;
    for (let i = from; i < Math.min(to, buckets); i += 1) {
      min = Math.min(min, lane[2 * i] ?? 0);
      max = Math.max(max, lane[2 * i + 1] ?? 0);
    }
    out.push([(min / FULL) * scale, (max / FULL) * scale]);
  }
  return out;
}

/** The factor that brings the loudest sample of both lanes to the lane's edge; silence stays silence. */
export function gain(peaks: Peaks): number {
  let loudest = 0;
  for (const lane of [peaks.customer, peaks.agent]) for (const v of lane) loudest = Math.max(loudest, Math.abs(v));
  return loudest < FULL / 200 ? 1 : (FULL * HEADROOM) / loudest;
}

/** Where a stretch of time stands on the waveform, in percent of its width. */
export interface Band {
  left: number;
  width: number;
  ms: number;
}

/** The gaps that lie inside a recording of `durationMs`, as bands. */
export function bands(gaps: readonly { from_ms: number; to_ms: number }[], durationMs: number): Band[] {
  return gaps.flatMap(({ from_ms, to_ms }) => {
    const from = within(from_ms, durationMs);
    const ms = within(to_ms, durationMs) - from;
    return ms > 0 ? [{ left: (100 * from) / durationMs, width: (100 * ms) / durationMs, ms }] : [];
  });
}

/** Keeps a position inside a recording. */
export function within(ms: number, durationMs: number): number {
  return Math.min(Math.max(0, ms), Math.max(0, durationMs));
}
