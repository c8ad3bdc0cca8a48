/** The filters of the address. */
export const FIELDS = ['from', 'to', 'outcome', 'queue', 'agent', 'number'] as const;
export type Filter = Record<(typeof FIELDS)[number], string>;
