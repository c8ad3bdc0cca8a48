/**
 * The desk's state folded from the server's frames. Pure: no clock, no socket, nothing of the page.
 *
 * Whatever is dropped, doubled or out of order, the fold either ends where the server's snapshot stands or says that it
 * has a gap (`resume`), after which the caller asks the server again. An event not above the last one is ignored; an
 * entity never goes back to an older `ver`.
 */
import type { AgentView, CallView, Draft, EventFrame, OfferCreated, Snapshot, Welcome } from '../generated';

export interface DeskState {
  epoch: string | null;
  /** The last event applied. */
  seq: number;
  /** False until the first snapshot: nothing below is known. */
  known: boolean;
  agent: AgentView | null;
  calls: readonly CallView[];
  offers: readonly OfferCreated[];
  drafts: readonly Draft[];
  mediaOwner: string | null;
  draining: boolean;
}

export const EMPTY: DeskState = {
  epoch: null,
  seq: 0,
  known: false,
  agent: null,
  calls: [],
  offers: [],
  drafts: [],
  mediaOwner: null,
  draining: false,
};

export type Step = { state: DeskState; need: 'nothing' | 'resume' };

/** A welcome that resumes keeps the state; any other leaves it on show but takes no event before the snapshot. */
export function welcome(state: DeskState, frame: Welcome): DeskState {
  if (frame.resumed && frame.epoch === state.epoch) return state;
  return { ...state, epoch: frame.epoch, known: false };
}

export function snapshot(state: DeskState, frame: Snapshot): DeskState {
  if (state.known && frame.seq < state.seq) return state;
  return {
    epoch: state.epoch,
    seq: frame.seq,
    known: true,
    agent: frame.agent,
    calls: frame.calls,
    offers: frame.offers,
    drafts: frame.drafts,
    mediaOwner: frame.media_owner,
    draining: frame.draining,
  };
}

export function event(state: DeskState, frame: EventFrame): Step {
  if (!state.known) return { state, need: 'nothing' };
  if (frame.seq <= state.seq) return { state, need: 'nothing' };
  if (frame.seq > state.seq + 1) return { state, need: 'resume' };
  return { state: apply({ ...state, seq: frame.seq }, frame), need: 'nothing' };
}

function apply(state: DeskState, frame: EventFrame): DeskState {
  switch (frame.t) {
    case 'agent.state':
    case 'agent.next_state':
      return agent(state, frame.d);
    case 'offer.created':
      return { ...state, offers: byId([...without(state.offers, frame.d.offer_id), frame.d], (o) => o.offer_id) };
    case 'offer.accepted':
    case 'offer.rejected':
    case 'offer.timeout':
    case 'offer.withdrawn':
      return { ...state, offers: without(state.offers, frame.d.offer_id) };
    case 'call.ringing':
      return state;
    case 'call.connected':
    case 'call.held':
    case 'call.muted':
    case 'call.recording':
    case 'call.parties':
    case 'call.ended':
    case 'wrapup.started':
      return upsert(state, frame.d);
    case 'pop': {
      const { call_id, pop } = frame.d;
      return {
        ...state,
        offers: state.offers.map((o) => (o.call_id === call_id ? { ...o, pop } : o)),
        calls: state.calls.map((c) => (c.call_id === call_id ? { ...c, pop } : c)),
      };
    }
    case 'wrapup.ended': {
      const { call_id } = frame.d;
      return { ...state, calls: state.calls.filter((c) => c.call_id !== call_id) };
    }
    case 'system.drain':
      return { ...state, draining: true };
    case 'draft.saved': {
      const d = frame.d;
      const same = (x: Draft): boolean => x.call_id === d.call_id && x.kind === d.kind;
      return { ...state, drafts: byId([...state.drafts.filter((x) => !same(x)), d], (x) => `${x.call_id}/${x.kind}`) };
    }
    case 'media.owner':
      return { ...state, mediaOwner: frame.d.tab };
    case 'draft.cleared': {
      const { call_id, kind } = frame.d;
      return { ...state, drafts: state.drafts.filter((x) => x.call_id !== call_id || x.kind !== kind) };
    }
  }
}

/** An agent who neither talks nor wraps up has no ended call before them: so a queue without wrap-up leaves none behind. */
function agent(state: DeskState, view: AgentView): DeskState {
  if (state.agent && state.agent.ver > view.ver) return state;
  const busy = view.state === 'talking' || view.state === 'wrapup';
  return { ...state, agent: view, calls: busy ? state.calls : state.calls.filter((c) => c.state !== 'ended') };
}

/** In the order of their ids, as the server's snapshot has them. */
function byId<T>(items: T[], id: (item: T) => string): T[] {
  return items.sort((a, b) => (id(a) < id(b) ? -1 : id(a) > id(b) ? 1 : 0));
}

function without(offers: readonly OfferCreated[], id: string): readonly OfferCreated[] {
  return offers.filter((o) => o.offer_id !== id);
}

function upsert(state: DeskState, call: CallView): DeskState {
  const old = state.calls.find((c) => c.call_id === call.call_id);
  if (old && old.ver > call.ver) return state;
  const calls = old ? state.calls.map((c) => (c === old ? call : c)) : [...state.calls, call];
  return { ...state, calls: byId([...calls], (c) => c.call_id) };
}
