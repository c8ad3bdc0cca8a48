/** One websocket `cc.v1` that comes back by itself. Folding is `fold.ts`; this carries frames, ids and time. */
import type { AckLike, AnyCommand, ClientCommand } from './types';
import type { EventFrame, NackCode, ServerControl, TopicFrame } from '../generated';
import { backoffMs, resendable, SHAKY_ATTEMPT, STABLE_MS } from './backoff';
import { hadEffect } from './effect';
import { EMPTY, event, snapshot, welcome, type DeskState } from './fold';
import { liveFrame, NO_LIVE, type LiveState } from './live';

export type Link = 'connecting' | 'open' | 'lost' | 'replaced' | 'signed_out' | 'mismatch';

/** The server sends the topic's time every two seconds: three of them missing is a dead connection. */
const SILENCE_MAX_MS = 7_000;
const ACK_WAIT_MAX_MS = 8_000;
/** Commands waiting for their ack. */
const PENDING_MAX = 64;
const CLOSE = { notSignedIn: 4001, signedInElsewhere: 4003, protocolMismatch: 4010 } as const;

export class Refused extends Error {
  constructor(
    readonly code: NackCode | 'lost' | 'read_only',
    message: string,
    readonly retryable: boolean,
  ) {
    super(message);
  }
}

export type MediaFrame = Extract<ServerControl, { t: 'media.answer' | 'media.lost' }>;

interface Pending {
  frame: ClientCommand;
  sentMs: number;
  resolve: (ack: AckLike) => void;
  reject: (error: Refused) => void;
}

export interface SocketEvents {
  state(state: DeskState): void;
  live(state: LiveState): void;
  link(link: Link, control: boolean): void;
  serverTime(ms: number): void;
  build(build: string): void;
  /** The server's word on this tab's audio connection. */
  media(frame: MediaFrame): void;
  /** Every event that was applied, in order: for what happens once (a sound, a notification). */
  applied(frame: EventFrame): void;
  /** A snapshot took the place of what was known before: what happened in between happened without events. */
  renewed(before: DeskState, after: DeskState): void;
}

export class DeskSocket {
  #socket: WebSocket | null = null;
  #state: DeskState = EMPTY;
  #live: LiveState = NO_LIVE;
  #link: Link = 'connecting';
  #control = false;
  /** Whether to ask for control when connecting: not after another tab took it. */
  #wantsControl = true;
  /** Whether the topic shall bring the calls too. */
  #wantsCalls = false;
  #attempt = 0;
  /** When this connection was let in; 0 before. */
  #openedMs = 0;
  /** The server was started anew since the last connection: it knows none of our commands. */
  #anew = false;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #watch: ReturnType<typeof setInterval> | undefined;
  #heardMs = 0;
  #closed = false;
  #pending = new Map<string, Pending>();

  constructor(
    private readonly url: string,
    private readonly build: string,
    private readonly on: SocketEvents,
  ) {}

  start(): void {
    this.#closed = false;
    this.#watch = setInterval(() => this.#check(), 1_000);
    addEventListener('online', this.#online);
    addEventListener('offline', this.#offline);
    this.#connect();
  }

  stop(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    clearInterval(this.#watch);
    removeEventListener('online', this.#online);
    removeEventListener('offline', this.#offline);
    this.#socket?.close(1000);
    this.#socket = null;
    for (const p of this.#pending.values()) p.reject(new Refused('lost', 'signed out', false));
    this.#pending.clear();
  }

  /** Tries again now rather than when the wait is over. */
  reconnect(): void {
    if (this.#closed || this.#socket) return;
    clearTimeout(this.#retry);
    this.#attempt = 0;
    this.#connect();
  }

  /** Greets the server again, as a fresh page would. */
  renew(): void {
    const socket = this.#socket;
    if (this.#closed || !socket) return;
    this.#socket = null;
    socket.close();
    this.#connect();
  }

  /** Sends a command; resolves with its ack, rejects with why not. */
  command(command: AnyCommand, expectVer?: number): Promise<AckLike> {
    const frame: ClientCommand = { id: crypto.randomUUID(), ...command };
    if (expectVer !== undefined) frame.expect_ver = expectVer;
    if (this.#pending.size >= PENDING_MAX) return Promise.reject(new Refused('busy', 'too many commands wait', true));
    return new Promise((resolve, reject) => {
      if (this.#link !== 'open' || !this.#socket) {
        reject(new Refused('lost', 'not connected', true));
        return;
      }
      this.#pending.set(frame.id, { frame, sentMs: Date.now(), resolve, reject });
      this.#send(frame);
    });
  }

  /** Whether `live` brings every call too. */
  watchCalls(wanted: boolean): void {
    if (this.#wantsCalls === wanted) return;
    this.#wantsCalls = wanted;
    if (this.#link === 'open') this.#subscribe();
  }

  async takeControl(): Promise<void> {
    this.#wantsControl = true;
    if (this.#link === 'open') await this.command({ t: 'session.take_control', d: {} });
    else {
      this.#setLink('connecting');
      this.reconnect();
    }
  }

  #online = (): void => this.reconnect();
  #offline = (): void => this.#drop();

  #connect(): void {
    if (this.#link !== 'lost') this.#setLink('connecting');
    let socket: WebSocket;
    try {
      socket = new WebSocket(this.url, 'cc.v1');
    } catch {
      this.#later();
      return;
    }
    this.#socket = socket;
    this.#heardMs = Date.now();
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      const resume = this.#state.epoch && this.#state.known ? { epoch: this.#state.epoch, seq: this.#state.seq } : undefined;
      const hello = { proto: 1, build: this.build, control: this.#wantsControl, ...(resume ? { resume } : {}) };
      socket.send(JSON.stringify({ t: 'hello', d: hello }));
    };
    socket.onmessage = (message) => {
      if (socket === this.#socket && typeof message.data === 'string') this.#receive(message.data);
    };
    socket.onclose = (close) => {
      if (socket === this.#socket) this.#lost(close.code);
    };
  }

  #receive(text: string): void {
    this.#heardMs = Date.now();
    let frame: EventFrame | TopicFrame | ServerControl;
    try {
      frame = JSON.parse(text) as EventFrame | TopicFrame | ServerControl;
    } catch {
      this.#drop();
      return;
    }
    if ('seq' in frame) this.#event(frame);
    else if ('topic' in frame) this.#topic(frame);
    else this.#control_(frame);
  }

  #event(frame: EventFrame): void {
    const before = this.#state;
    const step = event(before, frame);
    if (step.need === 'resume') {
      this.#drop();
      return;
    }
    if (step.state !== before) {
      this.#setState(step.state);
      this.on.applied(frame);
    }
  }

  #topic(frame: TopicFrame): void {
    const { state, lost } = liveFrame(this.#live, frame.rev, frame.d);
    if (lost) this.#subscribe();
    this.#live = state;
    this.on.live(state);
  }

  #control_(frame: ServerControl): void {
    switch (frame.t) {
      case 'welcome':
        this.on.serverTime(frame.d.server_ms);
        this.on.build(frame.d.build);
        this.#openedMs = Date.now();
        this.#anew = this.#state.epoch !== null && this.#state.epoch !== frame.d.epoch;
        this.#control = frame.d.control;
        this.#state = welcome(this.#state, frame.d);
        if (frame.d.resumed) this.#opened();
        break;
      case 'snapshot': {
        const before = this.#state;
        this.#setState(snapshot(before, frame.d));
        this.on.renewed(before, this.#state);
        if (this.#link !== 'open') this.#opened();
        break;
      }
      case 'ack': {
        const waiting = this.#pending.get(frame.d.id);
        this.#pending.delete(frame.d.id);
        waiting?.resolve(frame.d);
        break;
      }
      case 'nack': {
        const waiting = frame.d.id === null ? undefined : this.#pending.get(frame.d.id);
        if (frame.d.id !== null) this.#pending.delete(frame.d.id);
        waiting?.reject(new Refused(frame.d.code, frame.d.message, frame.d.retryable));
        break;
      }
      case 'media.answer':
      case 'media.lost':
        this.on.media(frame);
        break;
      case 'control':
        this.#control = frame.d.control;
        this.#wantsControl = frame.d.control;
        this.on.link(this.#link, this.#control);
        break;
    }
  }

  #opened(): void {
    this.#live = { ...this.#live, rev: 0 };
    this.#settle(Date.now());
    this.#setLink('open');
    this.#subscribe();
  }

  /** Commands whose answer was lost: done where that shows, sent again while young, else refused. */
  #settle(now: number): void {
    for (const [id, p] of this.#pending) {
      if (p.frame.t === 'sub') continue;
      if (this.#anew && hadEffect(p.frame, this.#state)) {
        this.#pending.delete(id);
        p.resolve({ id, seq: this.#state.seq });
      } else if (resendable(p.sentMs, now)) this.#send(p.frame);
      else {
        this.#pending.delete(id);
        p.reject(new Refused('lost', 'the connection was lost before the server answered', true));
      }
    }
  }

  #subscribe(): void {
    for (const [id, p] of this.#pending) if (p.frame.t === 'sub') this.#pending.delete(id);
    const filter = this.#wantsCalls ? { filter: { calls: true } } : {};
    this.command({ t: 'sub', d: { topic: 'live', ...filter } }).catch(() => undefined);
  }

  #send(frame: ClientCommand): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #check(): void {
    const now = Date.now();
    if (this.#socket && now - this.#heardMs > SILENCE_MAX_MS) this.#drop();
    for (const [id, p] of this.#pending) {
      if (now - p.sentMs <= ACK_WAIT_MAX_MS) continue;
      this.#pending.delete(id);
      p.reject(new Refused('lost', 'the server did not answer', true));
    }
  }

  /** Gives this connection up and makes another. */
  #drop(): void {
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = null;
    socket.close();
    this.#setLink('lost');
    this.#later();
  }

  #lost(code: number): void {
    this.#socket = null;
    if (this.#closed) return;
    if (code === CLOSE.notSignedIn) this.#setLink('signed_out');
    else if (code === CLOSE.protocolMismatch) this.#setLink('mismatch');
    else if (code === CLOSE.signedInElsewhere) {
      this.#wantsControl = false;
      this.#setLink('replaced');
    } else {
      this.#setLink('lost');
      this.#later();
    }
  }

  #later(): void {
    clearTimeout(this.#retry);
    if (this.#openedMs > 0) {
      const wasGood = Date.now() - this.#openedMs >= STABLE_MS;
      this.#attempt = wasGood ? 0 : Math.min(this.#attempt, SHAKY_ATTEMPT);
    }
    this.#openedMs = 0;
    const wait = backoffMs(this.#attempt, Math.random());
    this.#attempt += 1;
    this.#retry = setTimeout(() => {
      if (!this.#closed && !this.#socket) this.#connect();
    }, wait);
  }

  #setLink(link: Link): void {
    this.#link = link;
    this.on.link(link, this.#control);
  }
  #setState(state: DeskState): void {
    this.#state = state;
    this.on.state(state);
  }
}
