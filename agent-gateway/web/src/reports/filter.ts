/** The question of a report, as it stands in the address. */
export const FIELDS = ['of', 'from', 'to', 'interval', 'name', 'formula'] as const;
export type Filter = Record<(typeof FIELDS)[number], string>;

/** How long a stretch may be, in days, as the API has it. */
export const INTERVALS = [
  ['15m', 31],
  ['1h', 92],
  ['1d', 366],
] as const;
