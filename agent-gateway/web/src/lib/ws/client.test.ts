import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { DeskSocket, Refused, type Link, type SocketEvents } from './client';
import type { DeskState } from './fold';

/** A websocket that the test answers for. */
class Wire {
  static readonly OPEN = 1;
  static all: Wire[] = [];
  readyState = 0;
  sent: Array<{ id?: string; t: string; d: Record<string, unknown>; expect_ver?: number }> = [];
  onopen: (() => void) | null = null;
  onmessage: ((m: { data: string }) => void) | null = null;
  onclose: ((c: { code: number }) => void) | null = null;
  constructor(
    readonly url: string,
    readonly protocol: string,
  ) {
    Wire.all.push(this);
  }
  static get last(): Wire {
    const wire = Wire.all.at(-1);
    if (!wire) throw new Error('no socket was opened');
    return wire;
  }
  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  close(): void {
    this.readyState = 3;
  }
  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }
  say(frame: unknown): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }
  die(code: number): void {
    this.readyState = 3;
    this.onclose?.({ code });
  }
}

const AGENT = { name: '1001', display: 'W', state: 'ready', reason: null, since_ms: 0, next: null, ver: 1 };
const welcome = (resumed: boolean, seq: number, epoch = 'e') => ({ t: 'welcome', d: { epoch, seq, server_ms: 0, resumed, control: true, build: 'x' } });
const snapshot = (seq: number) => ({ t: 'snapshot', d: { agent: AGENT, calls: [], offers: [], drafts: [], media_owner: null, draining: false, seq } });
const event = (seq: number, ver: number) => ({ seq, ts: 0, t: 'agent.state', d: { ...AGENT, ver } });

let links: Link[];
let renewed: Array<[number, number]>;
let state: DeskState | undefined;
let socket: DeskSocket;
beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('WebSocket', Wire);
  vi.stubGlobal('addEventListener', () => undefined);
  vi.stubGlobal('removeEventListener', () => undefined);
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  Wire.all = [];
  links = [];
  renewed = [];
  const on: SocketEvents = {
    state: (s) => (state = s),
    live: () => undefined,
    link: (link) => void (links.at(-1) === link || links.push(link)),
    serverTime: () => undefined,
    build: () => undefined,
    media: () => undefined,
    applied: () => undefined,
    renewed: (before, after) => void renewed.push([before.seq, after.seq]),
  };
  socket = new DeskSocket('ws://test/ws', 'b', on);
  socket.start();
});
afterEach(() => {
  socket.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});
function connect(seq = 0): Wire {
  const wire = Wire.last;
  wire.open();
  wire.say(welcome(false, seq));
  wire.say(snapshot(seq));
  return wire;
}
/** With `Math.random` at a half: the first two waits before a try. */
const FIRST_MS = 100;
const SECOND_MS = 250;
/** The commands a test gives, without the topic's subscription. */
const commands = (wire: Wire) => wire.sent.filter((f) => f.t !== 'hello' && f.t !== 'sub');

it('greets with its protocol, subscribes, and resolves a command with its ack', async () => {
  const wire = connect();
  expect(wire.protocol).toBe('cc.v1');
  expect(wire.sent[0]).toEqual({ t: 'hello', d: { proto: 1, build: 'b', control: true } });
  expect(wire.sent[1]?.t).toBe('sub');
  const done = socket.command({ t: 'call.hold', d: { call_id: 'c' } }, 4);
  const [frame] = commands(wire);
  expect(frame).toMatchObject({ t: 'call.hold', d: { call_id: 'c' }, expect_ver: 4 });
  wire.say({ t: 'ack', d: { id: frame?.id, seq: 9 } });
  await expect(done).resolves.toEqual({ id: frame?.id, seq: 9 });
});

it('rejects a command with the reason of its nack', async () => {
  const wire = connect();
  const refused = expect(socket.command({ t: 'offer.accept', d: { offer_id: 'o' } })).rejects.toMatchObject({ code: 'answer_on_phone' });
  wire.say({ t: 'nack', d: { id: commands(wire)[0]?.id, code: 'answer_on_phone', message: '', retryable: false } });
  await refused;
});

it('reconnects after a moment, resumes after the last event, and sends a young command again with the same id', async () => {
  const wire = connect(3);
  wire.say(event(4, 2));
  const done = socket.command({ t: 'call.hangup', d: { call_id: 'c' } });
  const id = commands(wire)[0]?.id;
  wire.die(1006);
  expect(links.at(-1)).toBe('lost');
  await vi.advanceTimersByTimeAsync(FIRST_MS);
  const next = Wire.last;
  expect(next).not.toBe(wire);
  next.open();
  expect(next.sent[0]?.d['resume']).toEqual({ epoch: 'e', seq: 4 });
  next.say(welcome(true, 5));
  next.say(event(5, 3));
  expect(commands(next).map((f) => f.id)).toEqual([id]);
  next.say({ t: 'ack', d: { id, seq: 6 } });
  await expect(done).resolves.toMatchObject({ id });
  expect(state?.agent?.ver).toBe(3);
});

it('does not send a command again that is older than 5 s', async () => {
  const wire = connect();
  const refused = expect(socket.command({ t: 'call.hangup', d: { call_id: 'c' } })).rejects.toMatchObject({ code: 'lost' });
  wire.die(1006);
  for (let n = 0; n < 5; n += 1) {
    await vi.advanceTimersByTimeAsync(2_000);
    if (Wire.last.readyState !== 3) Wire.last.die(1006);
  }
  await vi.advanceTimersByTimeAsync(8_000);
  const next = Wire.last;
  next.open();
  next.say(welcome(true, 0));
  await refused;
  expect(commands(next)).toEqual([]);
});

it('is back within a second of a server that was started again, with its truth and nothing done twice', async () => {
  const wire = connect(7);
  const hangup = socket.command({ t: 'call.hangup', d: { call_id: 'gone' } });
  const pause = socket.command({ t: 'agent.set_state', d: { state: 'break', reason: 'meal' } });
  const pauseId = commands(wire)[1]?.id;
  wire.die(1006);
  await vi.advanceTimersByTimeAsync(FIRST_MS);
  Wire.last.die(1006);
  await vi.advanceTimersByTimeAsync(SECOND_MS);
  const next = Wire.last;
  next.open();
  expect(next.sent[0]?.d['resume']).toEqual({ epoch: 'e', seq: 7 });
  next.say(welcome(false, 1, 'another'));
  next.say(snapshot(1));
  // The snapshot holds no such call: it was hung up. The break is not there: it is asked for again, with its id.
  await expect(hangup).resolves.toMatchObject({ seq: 1 });
  expect(commands(next).map((f) => f.id)).toEqual([pauseId]);
  next.say({ t: 'ack', d: { id: pauseId, seq: 2 } });
  await expect(pause).resolves.toMatchObject({ id: pauseId });
  expect(renewed).toEqual([[0, 7], [7, 1]]);
  expect(links.at(-1)).toBe('open');
});

it('after a long outage a second crash is as short as the first would have been', async () => {
  const wire = connect();
  wire.die(1006);
  for (let n = 0; n < 60; n += 1) {
    await vi.advanceTimersByTimeAsync(500);
    if (Wire.last.readyState !== 3) Wire.last.die(1006);
  }
  await vi.advanceTimersByTimeAsync(8_000);
  connect().die(1006);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(Wire.last.readyState).toBe(0);
});

it('a server that lets in and throws out is not besieged', async () => {
  connect().die(1006);
  let tries = 0;
  for (let n = 0; n < 100; n += 1) {
    await vi.advanceTimersByTimeAsync(100);
    if (Wire.last.readyState === 3) continue;
    tries += 1;
    connect().die(1006);
  }
  expect(tries).toBeLessThan(25);
});

it('a gap in the numbers makes it connect again and resume', async () => {
  const wire = connect(3);
  wire.say(event(6, 2));
  await vi.advanceTimersByTimeAsync(FIRST_MS);
  const next = Wire.last;
  expect(next).not.toBe(wire);
  next.open();
  expect(next.sent[0]?.d['resume']).toEqual({ epoch: 'e', seq: 3 });
});

it('seven seconds of silence are a dead connection', async () => {
  const wire = connect();
  await vi.advanceTimersByTimeAsync(9_000);
  expect(links).toContain('lost');
  expect(Wire.last).not.toBe(wire);
});

it('a tab that lost control does not take it back by reconnecting', async () => {
  const wire = connect();
  wire.say({ t: 'control', d: { control: false, reason: 'taken_elsewhere' } });
  wire.die(1006);
  await vi.advanceTimersByTimeAsync(FIRST_MS);
  Wire.last.open();
  expect(Wire.last.sent[0]?.d['control']).toBe(false);
});

it('signed out, it stays away', async () => {
  connect().die(4001);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(links.at(-1)).toBe('signed_out');
  expect(Wire.all).toHaveLength(1);
});

it('a command without a connection fails at once, so that the button can say so', async () => {
  await expect(socket.command({ t: 'call.hold', d: { call_id: 'c' } })).rejects.toBeInstanceOf(Refused);
});
