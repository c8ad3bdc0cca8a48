import 'fake-indexeddb/auto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Draft } from '../generated';
import { Refused } from '../ws/client';
import type { AnyCommand } from '../ws/types';
import { DraftDb } from './draftdb';
import { Drafts } from './drafts.svelte';

type Save = { fields: Record<string, unknown>; rev: number; at: number };

/** A server that keeps drafts as ours does: a save with another `rev` than the current is refused. */
class Server {
  saves: Save[] = [];
  drafts: Draft[] = [];
  away = false;
  constructor(private readonly target: () => Drafts) {}
  send = async (command: AnyCommand, rev: number): Promise<unknown> => {
    if (this.away) throw new Refused('lost', '', true);
    if (command.t !== 'draft.save') throw new Error(command.t);
    const { call_id, kind, fields } = command.d;
    const old = this.drafts.find((d) => d.call_id === call_id && d.kind === kind);
    this.saves.push({ fields, rev, at: Date.now() });
    if (rev !== (old?.rev ?? 0)) throw new Refused('conflict', '', false);
    this.put({ call_id, kind, fields, rev: rev + 1, updated_ms: Date.now() });
    return {};
  };
  put(draft: Draft): void {
    this.drafts = [...this.drafts.filter((d) => d.call_id !== draft.call_id || d.kind !== draft.kind), draft];
    this.target().reconcile(this.drafts);
  }
}

let owner = 0;
let drafts: Drafts;
let server: Server;
beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
  drafts = new Drafts();
  server = new Server(() => drafts);
  owner += 1;
  await drafts.open(`demo/${owner}`, server.send);
});
afterEach(() => vi.useRealTimers());
const title = (): string | undefined => drafts.find('c', 'repair')?.fields['title'];

describe('what an agent types', () => {
  it('is in the browser’s own store within 300 ms', async () => {
    drafts.edit('c', 'repair', { title: 'abc' });
    await vi.advanceTimersByTimeAsync(300);
    vi.useRealTimers();
    await vi.waitFor(async () => expect((await new DraftDb().all(`demo/${owner}`, Date.now()))[0]?.fields).toEqual({ title: 'abc' }));
  });

  it('is on the server within 2 s, also while typing goes on', async () => {
    const start = Date.now();
    for (let i = 0; i < 40; i += 1) {
      drafts.edit('c', 'repair', { title: `t${i}` });
      await vi.advanceTimersByTimeAsync(100);
    }
    await vi.advanceTimersByTimeAsync(2_000);
    const times = [start, ...server.saves.map((s) => s.at)];
    expect(server.saves.length).toBeGreaterThan(1);
    expect(Math.max(...times.slice(1).map((t, i) => t - (times[i] ?? 0)))).toBeLessThanOrEqual(2_000);
    expect(server.drafts[0]?.fields).toEqual({ title: 't39' });
    expect(drafts.find('c', 'repair')).toMatchObject({ status: 'saved', dirty: false });
  });

  it('survives a reload before the server had it', async () => {
    server.away = true;
    drafts.edit('c', 'repair', { title: 'kept' });
    await vi.advanceTimersByTimeAsync(3_000);
    expect(server.drafts).toEqual([]);
    vi.useRealTimers();
    await vi.waitFor(async () => expect(await new DraftDb().all(`demo/${owner}`, Date.now())).toHaveLength(1));
    server.away = false;
    drafts = new Drafts();
    await drafts.open(`demo/${owner}`, server.send);
    expect(title()).toBe('kept');
    drafts.flush();
    await vi.waitFor(() => expect(server.drafts[0]?.fields).toEqual({ title: 'kept' }));
  });

  it('is shown beside the other text when both changed, and nothing is sent until the agent chose', async () => {
    drafts.edit('c', 'repair', { title: 'one' });
    await vi.advanceTimersByTimeAsync(2_000);
    drafts.edit('c', 'repair', { title: 'mine' });
    server.put({ call_id: 'c', kind: 'repair', fields: { title: 'theirs' }, rev: 2, updated_ms: 1 });
    await vi.advanceTimersByTimeAsync(3_000);
    expect(title()).toBe('mine');
    expect(drafts.find('c', 'repair')?.conflict?.fields).toEqual({ title: 'theirs' });
    expect(server.drafts[0]?.fields).toEqual({ title: 'theirs' });
    drafts.resolve('c', 'repair', { title: 'mine' });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(server.drafts[0]).toMatchObject({ fields: { title: 'mine' }, rev: 3 });
    expect(drafts.find('c', 'repair')?.conflict).toBeNull();
  });

  it('gives way to the server’s newer text where nothing was typed since', async () => {
    drafts.edit('c', 'repair', { title: 'one' });
    await vi.advanceTimersByTimeAsync(2_000);
    server.put({ call_id: 'c', kind: 'repair', fields: { title: 'two' }, rev: 2, updated_ms: 1 });
    expect(title()).toBe('two');
  });

  it('is no other text because the answer to its save was lost with the server', async () => {
    drafts.edit('c', 'repair', { title: 'one' });
    await vi.advanceTimersByTimeAsync(2_000);
    // Kept, but the ack never came; meanwhile more was typed.
    const kept = { call_id: 'c', kind: 'repair', fields: { title: 'one two' }, rev: 2, updated_ms: 1 };
    server.send = () => new Promise((_, reject) => setTimeout(() => reject(new Refused('lost', '', true)), 1_500));
    drafts = new Drafts();
    await drafts.open(`demo/${owner}`, (command, rev) => server.send(command, rev));
    drafts.reconcile(server.drafts);
    drafts.edit('c', 'repair', { title: 'one two' });
    await vi.advanceTimersByTimeAsync(900);
    drafts.edit('c', 'repair', { title: 'one two three' });
    drafts.reconcile([kept]);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(drafts.find('c', 'repair')).toMatchObject({ conflict: null, rev: 2, dirty: true });
    expect(title()).toBe('one two three');
  });

  it('does not come back from a save that arrives after its case was logged', async () => {
    drafts.edit('c', 'repair', { title: 'one' });
    await vi.advanceTimersByTimeAsync(2_000);
    drafts.logged('c', 'repair');
    server.put({ call_id: 'c', kind: 'repair', fields: { title: 'one' }, rev: 1, updated_ms: 1 });
    await vi.advanceTimersByTimeAsync(100);
    expect(title()).toBeUndefined();
    expect(server.drafts[0]).toMatchObject({ fields: {}, rev: 2 });
    drafts.edit('c', 'repair', { title: 'another case' });
    expect(title()).toBe('another case');
  });

  it('is gone once its case is logged', async () => {
    drafts.edit('c', 'repair', { title: 'one' });
    drafts.clear('c', 'repair');
    await vi.advanceTimersByTimeAsync(3_000);
    expect(server.saves).toEqual([]);
    expect(title()).toBeUndefined();
  });
});
