import { describe, expect, it } from 'vitest';
import type { AgentView, CallView, EventFrame, OfferCreated, Pop, Snapshot } from '../generated';
import { EMPTY, event, snapshot, welcome, type DeskState } from './fold';

const POP: Pop = { number: '+8613805310001', region: null, candidates: [], records_known: true, ivr_path: [], wait_ms: 0, vars: {} };
const agent = (ver: number, state: AgentView['state'] = 'ready'): AgentView => ({
  name: '1001', display: '王芳', state, reason: null, since_ms: 0, next: null, browser: false, media: 'ok', ver,
});
const call = (id: string, ver: number, state: CallView['state'] = 'talking'): CallView => ({
  call_id: id, state, direction: 'inbound', queue: 'repair', case_kind: null, leads: true, listens: null, aside: false, parties: [], muted: false, recording: true,
  answered_ms: 1, held_since_ms: null, ended_ms: state === 'ended' ? 2 : null, wrapup_until_ms: null, cause: null, pop: POP, ver,
});
const offer = (id: string, callId: string): OfferCreated => ({
  offer_id: id, call_id: callId, queue: 'repair', joining: null, case_kind: null, ring_until_ms: 0, auto_answer: false, can_accept: true, pop: POP,
});
const frame = (seq: number, body: unknown): EventFrame => ({ seq, ts: seq, ...(body as object) }) as EventFrame;

function start(): DeskState {
  const hello = welcome(EMPTY, { epoch: 'e', seq: 0, server_ms: 0, resumed: false, control: true, build: 'x' });
  return snapshot(hello, { agent: agent(1), calls: [], offers: [], drafts: [], media_owner: null, draining: false, seq: 0 });
}
const fold = (state: DeskState, ...frames: EventFrame[]): DeskState => frames.reduce((s, f) => event(s, f).state, state);

describe('the fold', () => {
  it('takes no event before the first snapshot', () => {
    expect(event(EMPTY, frame(1, { t: 'agent.state', d: agent(2) })).state).toBe(EMPTY);
  });
  it('asks for a resume at a gap and changes nothing', () => {
    const state = start();
    const step = event(state, frame(2, { t: 'offer.created', d: offer('o', 'c') }));
    expect(step).toEqual({ state, need: 'resume' });
  });
  it('ignores what it has seen', () => {
    const state = fold(start(), frame(1, { t: 'offer.created', d: offer('o', 'c') }));
    expect(event(state, frame(1, { t: 'offer.withdrawn', d: { offer_id: 'o', call_id: 'c', reason: '' } })).state).toBe(state);
  });
  it('never goes back to an older version of an agent or a call', () => {
    const state = fold(
      start(),
      frame(1, { t: 'agent.state', d: agent(5, 'talking') }),
      frame(2, { t: 'call.connected', d: call('c', 5) }),
      frame(3, { t: 'agent.state', d: agent(4, 'ready') }),
      frame(4, { t: 'call.held', d: { ...call('c', 4), held_since_ms: 9 } }),
    );
    expect(state.agent?.state).toBe('talking');
    expect(state.calls[0]?.held_since_ms).toBeNull();
    expect(state.seq).toBe(4);
  });
  it('follows a call from its offer to the end of wrap-up', () => {
    const ringing = fold(start(), frame(1, { t: 'offer.created', d: offer('o', 'c') }));
    expect(ringing.offers).toHaveLength(1);
    const talking = fold(ringing, frame(2, { t: 'offer.accepted', d: { offer_id: 'o', call_id: 'c' } }), frame(3, { t: 'call.connected', d: call('c', 1) }));
    expect(talking.offers).toEqual([]);
    const wrap = fold(talking, frame(4, { t: 'wrapup.started', d: call('c', 2, 'ended') }));
    expect(wrap.calls[0]?.state).toBe('ended');
    expect(fold(wrap, frame(5, { t: 'wrapup.ended', d: { call_id: 'c', incomplete: false } })).calls).toEqual([]);
  });
  it('leaves no ended call before an agent who neither talks nor wraps up', () => {
    const state = fold(start(), frame(1, { t: 'call.ended', d: call('c', 2, 'ended') }), frame(2, { t: 'agent.state', d: agent(2, 'ready') }));
    expect(state.calls).toEqual([]);
  });
  it('puts late records on the offer and on the call', () => {
    const late: Pop = { ...POP, region: '济南' };
    const state = fold(start(), frame(1, { t: 'offer.created', d: offer('o', 'c') }), frame(2, { t: 'pop', d: { call_id: 'c', pop: late } }));
    expect(state.offers[0]?.pop.region).toBe('济南');
  });
  it('keeps the state on show, but takes no events, when a new epoch is welcomed', () => {
    const old = fold(start(), frame(1, { t: 'agent.state', d: agent(7, 'talking') }));
    const next = welcome(old, { epoch: 'f', seq: 40, server_ms: 0, resumed: false, control: true, build: 'x' });
    expect(next.agent).toBe(old.agent);
    expect(event(next, frame(41, { t: 'agent.state', d: agent(1) })).state).toBe(next);
    const after = snapshot(next, { agent: agent(1, 'offline'), calls: [], offers: [], drafts: [], media_owner: null, draining: false, seq: 41 });
    expect([after.seq, after.agent?.state]).toEqual([41, 'offline']);
  });
});

/** A small generator with a printed seed: the same seed is the same run. */
function random(seed: number): () => number {
  let x = seed >>> 0;
  return () => {
    x = (x + 0x6d2b79f5) >>> 0;
    let z = Math.imul(x ^ (x >>> 15), 1 | x);
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
    return ((z ^ (z >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Events as a server could send them: calls offered, answered, held, ended, drafts saved and cleared. */
function history(rand: () => number, length: number): EventFrame[] {
  const frames: EventFrame[] = [];
  const put = (body: unknown): void => void frames.push(frame(frames.length + 1, body));
  let ver = 1;
  let n = 0;
  while (frames.length < length) {
    n += 1;
    const c = `c${String(n).padStart(4, '0')}`;
    const o = `o${String(n).padStart(4, '0')}`;
    put({ t: 'offer.created', d: offer(o, c) });
    put({ t: 'agent.state', d: agent(++ver, 'offered') });
    if (rand() < 0.3) put({ t: 'pop', d: { call_id: c, pop: { ...POP, wait_ms: n } } });
    if (rand() < 0.3) {
      put({ t: rand() < 0.5 ? 'offer.timeout' : 'offer.rejected', d: { offer_id: o, call_id: c } });
      put({ t: 'agent.state', d: agent(++ver, 'ready') });
      continue;
    }
    put({ t: 'offer.accepted', d: { offer_id: o, call_id: c } });
    put({ t: 'agent.state', d: agent(++ver, 'talking') });
    let v = 1;
    put({ t: 'call.connected', d: call(c, v) });
    for (let i = Math.floor(rand() * 4); i > 0; i -= 1) put({ t: 'call.held', d: { ...call(c, ++v), held_since_ms: i % 2 ? i : null } });
    for (let i = Math.floor(rand() * 3); i > 0; i -= 1) {
      put({ t: 'draft.saved', d: { call_id: c, kind: rand() < 0.5 ? 'repair' : 'inquiry', fields: { title: String(i) }, rev: i, updated_ms: i } });
    }
    put({ t: 'wrapup.started', d: call(c, ++v, 'ended') });
    if (rand() < 0.6) put({ t: 'draft.cleared', d: { call_id: c, kind: 'repair' } });
    if (rand() < 0.8) put({ t: 'wrapup.ended', d: { call_id: c, incomplete: rand() < 0.2 } });
    put({ t: 'agent.state', d: agent(++ver, rand() < 0.8 ? 'ready' : 'break') });
  }
  return frames;
}

const asSnapshot = (s: DeskState): Snapshot => ({
  agent: s.agent, calls: [...s.calls], offers: [...s.offers], drafts: [...s.drafts], media_owner: s.mediaOwner, draining: s.draining, seq: s.seq,
});

describe('any drop, duplicate or reorder of frames', () => {
  it('ends in the same state as the snapshot', () => {
    let gaps = 0;
    let snapshots = 0;
    for (let seed = 1; seed <= 300; seed += 1) {
      const rand = random(seed);
      const frames = history(rand, 120);
      const truth = [start()];
      for (const f of frames) truth.push(fold(truth.at(-1) ?? start(), f));
      const last = truth.at(-1) ?? start();

      // The wire: each frame may be lost, doubled, or swapped with its neighbour.
      const wire: EventFrame[] = [];
      for (const f of frames) {
        const x = rand();
        if (x < 0.08) continue;
        wire.push(f);
        if (x > 0.92) wire.push(f);
        if (x > 0.84 && x < 0.92 && wire.length > 1) wire.push(...wire.splice(-2).reverse());
      }

      let state = start();
      const resume = (upTo: number): void => {
        // The server answers with the missed events, or, when it has forgotten them, with a snapshot.
        if (rand() < 0.5) state = fold(state, ...frames.slice(state.seq, upTo));
        else {
          const at = truth[upTo] ?? last;
          state = snapshot(welcome(state, { epoch: 'e2', seq: upTo, server_ms: 0, resumed: false, control: true, build: 'x' }), asSnapshot(at));
          snapshots += 1;
        }
      };
      for (const f of wire) {
        const step = event(state, f);
        state = step.state;
        if (step.need === 'resume') {
          gaps += 1;
          resume(f.seq);
        }
      }
      if (state.seq < frames.length) resume(frames.length);
      expect({ seed, ...state, epoch: null }).toEqual({ seed, ...last, epoch: null });
    }
    expect(gaps).toBeGreaterThan(1_000);
    expect(snapshots).toBeGreaterThan(500);
  });
});
