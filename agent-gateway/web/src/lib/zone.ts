/** Days as the tenant counts them. */

/** How far the zone is ahead of UTC at that moment, in milliseconds. */
function offsetMs(atMs: number, timeZone: string): number {
  const parts = new Intl.DateTimeFormat('en-GB', {
    timeZone, year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23',
  }).formatToParts(atMs);
  const part = (type: string): number => Number(parts.find((p) => p.type === type)?.value ?? 0);
  const local = Date.UTC(part('year'), part('month') - 1, part('day'), part('hour'), part('minute'), part('second'));
  return local - Math.floor(atMs / 1000) * 1000;
}

/** The first moment of `YYYY-MM-DD` plus `days` in a zone; `null` for what is no date. */
export function dayStart(date: string, timeZone: string, days = 0): number | null {
  const match = /^(\d{4})-(\d{2})-(\d{2})$/.exec(date);
  if (!match) return null;
  const utc = Date.UTC(Number(match[1]), Number(match[2]) - 1, Number(match[3]) + days);
  if (Number.isNaN(utc)) return null;
  const first = utc - offsetMs(utc, timeZone);
  // Where the clocks change that night, the offset of the moment itself counts.
  return utc - offsetMs(first, timeZone);
}

/** The zone's date of a moment, `YYYY-MM-DD`. */
export function dateOf(atMs: number, timeZone: string): string {
  return new Date(atMs + offsetMs(atMs, timeZone)).toISOString().slice(0, 10);
}
