/** The topic `live`: full once, then what changed. A missing `rev` means what we have may be wrong: subscribe again. */
import type { AgentLive, LiveDelta, QueueLive } from '../generated';

export interface LiveState {
  rev: number;
  atMs: number;
  queues: readonly QueueLive[];
  agents: readonly AgentLive[];
}
export const NO_LIVE: LiveState = { rev: 0, atMs: 0, queues: [], agents: [] };

export function liveFrame(state: LiveState, rev: number, d: LiveDelta): { state: LiveState; lost: boolean } {
  if (d.full) return { state: { rev, atMs: d.at_ms, queues: d.queues, agents: d.agents }, lost: false };
  if (rev <= state.rev) return { state, lost: false };
  if (rev !== state.rev + 1) return { state, lost: true };
  return {
    state: {
      rev,
      atMs: d.at_ms,
      queues: merge(state.queues, d.queues, d.gone_queues),
      agents: merge(state.agents, d.agents, d.gone_agents),
    },
    lost: false,
  };
}

function merge<T extends { name: string }>(old: readonly T[], changed: readonly T[], gone: readonly string[]): readonly T[] {
  if (changed.length === 0 && gone.length === 0) return old;
  const fresh = new Map(changed.map((x) => [x.name, x]));
  const kept = old.filter((x) => !gone.includes(x.name)).map((x) => fresh.get(x.name) ?? x);
  const names = new Set(kept.map((x) => x.name));
  return [...kept, ...changed.filter((x) => !names.has(x.name))].sort((a, b) => (a.name < b.name ? -1 : 1));
}
