/** What the figures of several intervals make together. Nothing divided by nothing is unknown, not 0. */
import type { AgentRow, Levels, QueueRow } from '../lib/generated';

export const FORMULAS = ['of_answered', 'of_offered', 'abandons_excluded', 'abandons_included'] as const satisfies readonly (keyof Levels)[];
export type Formula = (typeof FORMULAS)[number];

const ratio = (part: number, whole: number): number | null => (whole > 0 ? part / whole : null);

/** Of one queue, or of all: `start_ms` and `end_ms` are the first's and the last's. */
export function sumQueues(rows: readonly QueueRow[]): QueueRow | null {
  const [first] = rows;
  if (!first) return null;
  const add = (field: { [K in keyof QueueRow]: QueueRow[K] extends number ? K : never }[keyof QueueRow]): number =>
    rows.reduce((sum, row) => sum + (row[field] ?? 0), 0);
  const [offered, answered, inTime, gone] = [add('offered'), add('answered'), add('answered_in_time'), add('abandoned_in_time')];
  const [handled, talk_ms, hold_ms, wrapup_ms] = [add('handled'), add('talk_ms'), add('hold_ms'), add('wrapup_ms')];
  const wait_answered_ms = add('wait_answered_ms');
  return {
    start_ms: Math.min(...rows.map((row) => row.start_ms)),
    end_ms: Math.max(...rows.map((row) => row.end_ms)),
    queue: first.queue,
    offered,
    overflowed_in: add('overflowed_in'),
    answered,
    abandoned: add('abandoned'),
    abandoned_waiting: add('abandoned_waiting'),
    abandoned_ringing: add('abandoned_ringing'),
    abandoned_short: add('abandoned_short'),
    overflowed_out: add('overflowed_out'),
    moved: add('moved'),
    ended: add('ended'),
    waiting: add('waiting'),
    answered_in_time: inTime,
    abandoned_in_time: gone,
    service_levels: {
      of_answered: ratio(inTime, answered),
      of_offered: ratio(inTime, offered),
      abandons_excluded: ratio(inTime, offered - gone),
      abandons_included: ratio(inTime + gone, offered),
    },
    asa_ms: ratio(wait_answered_ms, answered),
    aht_ms: ratio(talk_ms + hold_ms + wrapup_ms, handled),
    wait_max_ms: Math.max(...rows.map((row) => row.wait_max_ms)),
    wait_answered_ms,
    wait_abandoned_ms: add('wait_abandoned_ms'),
    handled,
    talk_ms,
    hold_ms,
    wrapup_ms,
  };
}

/** Of one agent, or of all. */
export function sumAgents(rows: readonly AgentRow[]): AgentRow | null {
  const [first] = rows;
  if (!first) return null;
  const add = (field: { [K in keyof AgentRow]: AgentRow[K] extends number ? K : never }[keyof AgentRow]): number =>
    rows.reduce((sum, row) => sum + (row[field] ?? 0), 0);
  const breaks: Record<string, number> = {};
  for (const row of rows) for (const [reason, ms] of Object.entries(row.breaks)) breaks[reason] = (breaks[reason] ?? 0) + ms;
  const [talking_ms, wrapup_ms, break_ms, staffed_ms] = [add('talking_ms'), add('wrapup_ms'), add('break_ms'), add('staffed_ms')];
  return {
    start_ms: Math.min(...rows.map((row) => row.start_ms)),
    end_ms: Math.max(...rows.map((row) => row.end_ms)),
    agent: first.agent,
    offers: add('offers'),
    answered: add('answered'),
    rejected: add('rejected'),
    missed: add('missed'),
    failed: add('failed'),
    withdrawn: add('withdrawn'),
    ring_ms: add('ring_ms'),
    talk_ms: add('talk_ms'),
    hold_ms: add('hold_ms'),
    wrapup_ms,
    ready_ms: add('ready_ms'),
    offered_ms: add('offered_ms'),
    talking_ms,
    break_ms,
    breaks,
    staffed_ms,
    occupancy: ratio(talking_ms + wrapup_ms, staffed_ms - break_ms),
  };
}

/** Rows of the same name together, in the order of the names. */
export function byName<T>(rows: readonly T[], name: (row: T) => string, sum: (rows: readonly T[]) => T | null): T[] {
  const groups = new Map<string, T[]>();
  for (const row of rows) groups.set(name(row), [...(groups.get(name(row)) ?? []), row]);
  return [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, group]) => sum(group) ?? []);
}
