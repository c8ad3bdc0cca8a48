/** The topic `live`: full once, then what changed. A missing `rev` means what we have may be wrong: subscribe again. */
import type { AgentLive, Alarm, CallLive, LiveDelta, QueueLive } from '../generated';

export interface LiveState {
  rev: number;
  atMs: number;
  queues: readonly QueueLive[];
  agents: readonly AgentLive[];
  /** Empty unless they were asked for. */
  calls: readonly CallLive[];
  /** Those this person's role is told of. */
  alarms: readonly Alarm[];
}
export const NO_LIVE: LiveState = { rev: 0, atMs: 0, queues: [], agents: [], calls: [], alarms: [] };

export function liveFrame(state: LiveState, rev: number, d: LiveDelta): { state: LiveState; lost: boolean } {
  const alarms = d.alarms ?? state.alarms;
  if (d.full) return { state: { rev, atMs: d.at_ms, queues: d.queues, agents: d.agents, calls: d.calls, alarms }, lost: false };
  if (rev <= state.rev) return { state, lost: false };
  if (rev !== state.rev + 1) return { state, lost: true };
  return {
    state: {
      rev,
      atMs: d.at_ms,
      queues: merge(state.queues, d.queues, d.gone_queues, (q) => q.name),
      agents: merge(state.agents, d.agents, d.gone_agents, (a) => a.name),
      calls: merge(state.calls, d.calls, d.gone_calls, (c) => c.id),
      alarms,
    },
    lost: false,
  };
}

function merge<T>(old: readonly T[], changed: readonly T[], gone: readonly string[], key: (item: T) => string): readonly T[] {
  if (changed.length === 0 && gone.length === 0) return old;
  const fresh = new Map(changed.map((x) => [key(x), x]));
  const left = new Set(gone);
  const kept = old.filter((x) => !left.has(key(x))).map((x) => fresh.get(key(x)) ?? x);
  const known = new Set(kept.map(key));
  return [...kept, ...changed.filter((x) => !known.has(key(x)))].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}
