/** Reconnecting: at once, then full jitter under a doubling ceiling. */
export const CEILING_FIRST_MS = 1_000;
export const CEILING_MAX_MS = 30_000;

/** How long to wait before the `attempt`-th try (0: the first). `random` is in [0, 1). */
export function backoffMs(attempt: number, random: number): number {
  if (attempt <= 0) return 0;
  const ceiling = Math.min(CEILING_MAX_MS, CEILING_FIRST_MS * 2 ** Math.min(attempt - 1, 16));
  return Math.floor(random * ceiling);
}

/** After a reconnect a call-control command goes again, with the same id, only if it is younger than this. */
export const RESEND_MAX_MS = 5_000;
export function resendable(sentMs: number, nowMs: number): boolean {
  return nowMs - sentMs < RESEND_MAX_MS;
}
