/** The desk as this page shows it: the folded state, the link, and what the agent asked for that is not yet done. */
import type { CallView, EventFrame, Listen, OfferCreated, Pop, To, WantedState } from '../generated';
import { audio } from '../audio/audio.svelte';
import { clock } from '../clock.svelte';
import { t } from '../i18n/index.svelte';
import { session } from '../session.svelte';
import { DeskSocket, Refused, type Link } from '../ws/client';
import { EMPTY, type DeskState } from '../ws/fold';
import { NO_LIVE, type LiveState } from '../ws/live';
import type { AnyCommand } from '../ws/types';
import { Drafts } from './drafts.svelte';

/** The second F4 must come this soon after the first. */
export const HANGUP_TWICE_MS = 1_500;
/** A connection away for longer than this is said so in a band of its own. */
export const AWAY_LONG_MS = 10_000;
const NOTICE_MS = 7_000;
const ASK_AGAIN_MS = 3_000;

export interface Work {
  callId: string;
  pop: Pop | null;
  /** The kind the queue's calls usually become. */
  caseKind: string | null;
  stage: 'offer' | 'call' | 'wrapup' | 'draft';
}

class DeskStore {
  state = $state.raw<DeskState>(EMPTY);
  live = $state.raw<LiveState>(NO_LIVE);
  link = $state<Link>('connecting');
  control = $state(false);
  /** When the connection was lost, by the page's own clock. */
  lostMs = $state(0);
  /** The server runs another build than this page: shown when idle. */
  outdated = $state(false);
  notice = $state<{ text: string; tone: 'alarm' | 'neutral' } | null>(null);
  /** The offer whose Answer was pressed. */
  accepting = $state<string | null>(null);
  /** The phone can not be made to answer: the handset must be lifted. */
  liftHandset = $state<string | null>(null);
  /** Accepted, its call not yet connected: shown so that the card does not vanish in between. */
  connecting = $state.raw<OfferCreated | null>(null);
  /** An agent whom the switch does not know yet. */
  waitsForSwitch = $state(false);
  busy = $state<string | null>(null);
  hangupArmedMs = $state(0);
  /** A draft of an earlier call, opened again. */
  openDraft = $state<{ callId: string; number: string } | null>(null);
  /** The agent's phone rings. */
  ringing = $state(false);
  /** Grows when history may have changed. */
  ended = $state(0);
  drafts = new Drafts();

  #socket: DeskSocket | null = null;
  #onOffer: ((offer: OfferCreated) => void) | null = null;
  /** Offers of this page's life until they end, for `connecting`. */
  #offers = new Map<string, OfferCreated>();
  #askAgain: ReturnType<typeof setTimeout> | undefined;
  #noticeTimer: ReturnType<typeof setTimeout> | undefined;

  offer = $derived(this.state.offers[0] ?? null);
  /** The call on the card: one that still talks before one in wrap-up. */
  call: CallView | null = $derived(this.state.calls.find((c) => c.ended_ms === null) ?? this.state.calls[0] ?? null);
  /** Commands can be given. */
  ready = $derived(this.link === 'open' && this.control && this.state.known);
  awayMs = $derived(this.link === 'lost' ? Math.max(0, clock.now - this.lostMs) : 0);
  /** Why they can not. */
  blocked = $derived(
    this.link !== 'open' || !this.state.known ? t('blocked.lost') : this.control ? null : t('blocked.read_only'),
  );
  work: Work | null = $derived.by(() => {
    const { call, offer } = this;
    if (call && call.ended_ms === null) return { callId: call.call_id, pop: call.pop, caseKind: call.case_kind, stage: 'call' };
    const rings = offer ?? this.connecting;
    if (rings) return { callId: rings.call_id, pop: rings.pop, caseKind: rings.case_kind, stage: 'offer' };
    if (call) return { callId: call.call_id, pop: call.pop, caseKind: call.case_kind, stage: 'wrapup' };
    if (this.openDraft) return { callId: this.openDraft.callId, pop: null, caseKind: null, stage: 'draft' };
    return null;
  });

  start(onOffer: (offer: OfferCreated) => void): void {
    this.#onOffer = onOffer;
    if (this.#socket || !session.me) return;
    const { tenant, user } = session.me;
    const url = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`;
    let firstBuild: string | null = null;
    const socket = new DeskSocket(url, __BUILD__, {
      state: (state) => {
        this.state = state;
        this.#unknownAgent(state.known && state.agent === null && session.me?.user.role === 'agent');
        this.drafts.reconcile(state.drafts);
        for (const o of state.offers) this.#offers.set(o.offer_id, o);
        if (this.#offers.size > state.offers.length + 4) this.#offers = new Map(state.offers.map((o) => [o.offer_id, o]));
        const due = this.connecting;
        if (due && (state.agent?.state !== 'offered' || state.calls.some((c) => c.call_id === due.call_id))) this.connecting = null;
        if (this.accepting && !state.offers.some((o) => o.offer_id === this.accepting)) this.accepting = null;
      },
      live: (live) => (this.live = live),
      link: (link, control) => {
        const back = link === 'open' && (this.link !== 'open' || (control && !this.control));
        if (link === 'lost' && this.link !== 'lost') this.lostMs = clock.exact();
        // What could not be loaded meanwhile is loaded now.
        if (back && this.link === 'lost') this.ended += 1;
        this.link = link;
        this.control = control;
        if (back && control) this.drafts.flush();
        if (link === 'signed_out') session.expired();
      },
      serverTime: (ms) => clock.sync(ms),
      build: (build) => {
        firstBuild ??= build;
        this.outdated = build !== firstBuild;
      },
      media: (frame) => audio.media(frame),
      applied: (frame) => this.#applied(frame),
      renewed: (before, after) => this.#renewed(before, after),
    });
    this.#offers = new Map();
    this.#socket = socket;
    void this.drafts.open(`${tenant.id}/${user.name}`, (command, ver) => socket.command(command, ver)).then(() => {
      this.drafts.reconcile(this.state.drafts);
      if (this.ready) this.drafts.flush();
    });
    audio.start(async (sdp, tab) => void (await socket.command({ t: 'media.offer', d: { sdp, tab } })));
    socket.start();
  }

  stop(): void {
    this.#socket?.stop();
    this.#socket = null;
    audio.stop();
    this.#unknownAgent(false);
    this.state = EMPTY;
    this.live = NO_LIVE;
    this.link = 'connecting';
    this.control = false;
    this.openDraft = null;
    this.drafts = new Drafts();
  }

  reconnect(): void {
    this.#socket?.reconnect();
  }
  /** Whether `live` holds every call too: only a page that shows them asks. */
  watchCalls(wanted: boolean): void {
    this.#socket?.watchCalls(wanted);
  }
  async takeControl(): Promise<void> {
    try {
      await this.#socket?.takeControl();
    } catch (error) {
      this.say(error);
    }
  }

  setState(state: WantedState, reason: string | null = null): Promise<boolean> {
    return this.#do({ t: 'agent.set_state', d: { state, reason } });
  }
  async accept(): Promise<void> {
    const offer = this.offer;
    if (!offer || this.accepting) return;
    if (!offer.can_accept) {
      this.liftHandset = offer.offer_id;
      return;
    }
    this.accepting = offer.offer_id;
    try {
      await this.#send({ t: 'offer.accept', d: { offer_id: offer.offer_id } });
    } catch (error) {
      this.accepting = null;
      if (error instanceof Refused && error.code === 'answer_on_phone') this.liftHandset = offer.offer_id;
      else this.say(error);
    }
  }
  async reject(): Promise<void> {
    const offer = this.offer;
    if (offer) await this.#do({ t: 'offer.reject', d: { offer_id: offer.offer_id, reason: null } });
  }
  toggleHold(): Promise<boolean> | undefined {
    const call = this.call;
    if (!call || call.ended_ms !== null) return;
    return this.#do({ t: call.held_since_ms === null ? 'call.hold' : 'call.retrieve', d: { call_id: call.call_id } });
  }
  toggleMute(): Promise<boolean> | undefined {
    const call = this.call;
    if (!call || call.ended_ms !== null) return;
    audio.mute(!call.muted);
    return this.#do({ t: call.muted ? 'call.unmute' : 'call.mute', d: { call_id: call.call_id } });
  }
  /** The first press arms, the second within 1.5 s hangs up. */
  hangup(): Promise<boolean> | undefined {
    const call = this.call;
    if (!call || call.ended_ms !== null) return;
    const now = Date.now();
    if (now - this.hangupArmedMs > HANGUP_TWICE_MS) {
      this.hangupArmedMs = now;
      setTimeout(() => {
        if (Date.now() - this.hangupArmedMs >= HANGUP_TWICE_MS) this.hangupArmedMs = 0;
      }, HANGUP_TWICE_MS + 20);
      return;
    }
    this.hangupArmedMs = 0;
    return this.#do({ t: 'call.hangup', d: { call_id: call.call_id } });
  }
  press(digits: string): Promise<boolean> | undefined {
    return this.#ofCall((call_id) => ({ t: 'call.dtmf', d: { call_id, digits } }));
  }
  transfer(to: To): Promise<boolean> | undefined {
    return this.#ofCall((call_id) => ({ t: 'call.transfer', d: { call_id, to } }));
  }
  consult(to: To): Promise<boolean> | undefined {
    return this.#ofCall((call_id) => ({ t: 'call.consult', d: { call_id, to } }));
  }
  /** With the version: twice would be back again. */
  swap(): Promise<boolean> | undefined {
    return this.#ofCall((call_id) => ({ t: 'call.swap', d: { call_id } }), true);
  }
  complete(): Promise<boolean> | undefined {
    return this.#ofCall((call_id) => ({ t: 'call.complete', d: { call_id } }));
  }
  cancelConsult(): Promise<boolean> | undefined {
    return this.#ofCall((call_id) => ({ t: 'call.cancel_consult', d: { call_id } }));
  }
  conference(): Promise<boolean> | undefined {
    return this.#ofCall((call_id) => ({ t: 'call.conference', d: { call_id } }));
  }
  /** Rings this supervisor's own phone, or goes over to another way of listening. */
  supervise(callId: string, mode: Listen): Promise<boolean> {
    return this.#do({ t: 'call.supervise', d: { call_id: callId, mode } });
  }
  endSupervision(callId: string): Promise<boolean> {
    return this.#do({ t: 'call.hangup', d: { call_id: callId } });
  }
  #ofCall(command: (callId: string) => AnyCommand, versioned = false): Promise<boolean> | undefined {
    const call = this.call;
    if (!call || call.ended_ms !== null) return;
    return this.#do(command(call.call_id), versioned ? call.ver : undefined);
  }
  extendWrapup(callId: string): Promise<boolean> {
    // With the version, so that it is never done twice.
    return this.#do({ t: 'wrapup.extend', d: { call_id: callId } }, this.state.calls.find((c) => c.call_id === callId)?.ver);
  }
  finishWrapup(callId: string, disposition: string): Promise<boolean> {
    return this.#do({ t: 'wrapup.finish', d: { call_id: callId, disposition } });
  }

  /** One line at the foot of the page. */
  say(problem: unknown, tone: 'alarm' | 'neutral' = 'alarm'): void {
    this.notice = { text: problem instanceof Refused ? refusal(problem) : problem instanceof Error ? problem.message : String(problem), tone };
    clearTimeout(this.#noticeTimer);
    this.#noticeTimer = setTimeout(() => (this.notice = null), NOTICE_MS);
  }

  /** The switch may know of a new agent, or of any after a restart, later than the page: it is asked again. */
  #unknownAgent(unknown: boolean): void {
    this.waitsForSwitch = unknown;
    if (!unknown) {
      clearTimeout(this.#askAgain);
      this.#askAgain = undefined;
    } else {
      this.#askAgain ??= setTimeout(() => {
        this.#askAgain = undefined;
        this.#socket?.renew();
      }, ASK_AGAIN_MS);
    }
  }
  #send(command: AnyCommand, expectVer?: number): Promise<unknown> {
    if (!this.#socket) return Promise.reject(new Refused('lost', '', true));
    if (!this.control) return Promise.reject(new Refused('read_only', '', false));
    return this.#socket.command(command, expectVer);
  }
  async #do(command: AnyCommand, expectVer?: number): Promise<boolean> {
    this.busy = command.t;
    try {
      await this.#send(command, expectVer);
      return true;
    } catch (error) {
      this.say(error);
      return false;
    } finally {
      this.busy = null;
    }
  }

  /** What happened while the connection was away came without events. */
  #renewed(before: DeskState, after: DeskState): void {
    const rings = after.offers.find((o) => !before.offers.some((known) => known.offer_id === o.offer_id));
    if (rings) this.#offered(rings);
    const over = before.calls.filter((c) => c.ended_ms === null && !after.calls.some((now) => now.call_id === c.call_id && now.ended_ms === null));
    if (over.length === 0) return;
    this.ended += 1;
    this.hangupArmedMs = 0;
    if (!over.some((c) => after.calls.some((now) => now.call_id === c.call_id))) this.say(t('notice.call_over'), 'neutral');
  }
  #offered(offer: OfferCreated): void {
    this.ringing = false;
    this.liftHandset = null;
    this.openDraft = null;
    this.#onOffer?.(offer);
  }
  #applied(frame: EventFrame): void {
    switch (frame.t) {
      case 'offer.created':
        this.#offered(frame.d);
        break;
      case 'call.ringing':
        this.ringing = true;
        break;
      case 'offer.accepted':
        this.connecting = this.#offers.get(frame.d.offer_id) ?? null;
        break;
      case 'call.connected':
        this.connecting = null;
        break;
      case 'offer.timeout':
        this.say(t('notice.offer_timeout'), 'neutral');
        break;
      case 'offer.withdrawn':
        this.say(t('notice.offer_withdrawn'), 'neutral');
        break;
      case 'wrapup.ended':
        this.ended += 1;
        if (frame.d.incomplete) this.say(t('notice.wrapup_incomplete'), 'neutral');
        break;
      case 'call.ended':
        this.ended += 1;
        break;
      case 'draft.cleared':
        this.drafts.clear(frame.d.call_id, frame.d.kind);
        break;
    }
  }
}

/** What a refused command means for the person, and what to do. */
function refusal(error: Refused): string {
  switch (error.code) {
    case 'not_yours':
      return t('refused.not_yours');
    case 'wrong_state':
      return t('refused.wrong_state', { detail: error.message });
    case 'answer_on_phone':
      return t('offer.lift');
    case 'conflict':
      return t('refused.conflict');
    case 'forbidden':
      return t('refused.forbidden');
    case 'busy':
      return error.message ? t('refused.wrong_state', { detail: error.message }) : t('refused.busy');
    case 'not_supported':
      return t('refused.not_supported');
    case 'bad_frame':
    case 'unknown_command':
      return t('refused.bad', { detail: error.message });
    case 'lost':
      return t('refused.lost');
    case 'read_only':
      return t('blocked.read_only');
  }
}

export const desk = new DeskStore();
