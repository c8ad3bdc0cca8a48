/**
 * Reconnecting: quick at first, for a server that restarts is back within a second; then slower, but always soon enough that an
 * agent is back within the 25 s for which the switch holds the desk present. Jitter keeps a thousand desks from coming at once.
 */
export const STEPS_MS = [100, 250, 500, 1_000, 2_000, 4_000, 8_000] as const;

/** How long to wait before the `attempt`-th try (0: the first): its step, half as much less or more. `random` is in [0, 1). */
export function backoffMs(attempt: number, random: number): number {
  const step = STEPS_MS[Math.min(Math.max(attempt, 0), STEPS_MS.length - 1)] ?? 0;
  return Math.floor(step * (0.5 + random));
}
/** A connection that lasted this long was a good one: the next loss begins with the quick tries again ... */
export const STABLE_MS = 5_000;
/** ... and a shorter one with this at the latest, about half a second: a server may crash twice, or let in only to throw out. */
export const SHAKY_ATTEMPT = 2;

/** After a reconnect a call-control command goes again, with the same id, only if it is younger than this. */
export const RESEND_MAX_MS = 5_000;
export function resendable(sentMs: number, nowMs: number): boolean {
  return nowMs - sentMs < RESEND_MAX_MS;
}
