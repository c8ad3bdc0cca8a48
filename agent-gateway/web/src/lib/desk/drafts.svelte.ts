/**
 * What the agent types, kept: in IndexedDB within 300 ms of a key, on the server within 2 s, by call and kind.
 * A draft both this page and another changed is shown twice, and nothing is written over until the agent chose.
 */
import { SvelteMap } from 'svelte/reactivity';
import type { Draft } from '../generated';
import { Refused } from '../ws/client';
import type { AnyCommand } from '../ws/types';
import { DraftDb, type Fields, type StoredDraft } from './draftdb';
import { compare, hasText, sameFields, toFields } from './merge';

const LOCAL_MS = 150;
const SERVER_MS = 700;
const SERVER_LATEST_MS = 1_600;
const RETRY_MS = 3_000;

export interface Live extends StoredDraft {
  /** The other text, where two differ. */
  conflict: Draft | null;
  /** `kept`: in this browser only; `saved`: on the server. */
  status: 'kept' | 'saving' | 'saved';
}

type Send = (command: AnyCommand, expectVer: number) => Promise<unknown>;

export class Drafts {
  /** By `call/kind`. */
  all = new SvelteMap<string, Live>();
  /** False where the browser keeps nothing (private mode, full disk): the desk says so. */
  kept = $state(true);
  #db = new DraftDb();
  #owner = '';
  #send: Send = () => Promise.reject(new Refused('lost', '', true));
  #local = new Map<string, ReturnType<typeof setTimeout>>();
  #server = new Map<string, { timer: ReturnType<typeof setTimeout>; firstMs: number }>();
  #flying = new Set<string>();
  #theirs: readonly Draft[] = [];
  /** Fields sent and not yet seen in a `draft.saved`. */
  #sent = new Map<string, Fields>();
  /** Logged as cases here: a save that was under way then, and arrives after all, is undone. */
  #logged = new Set<string>();

  /** Reads what this browser kept of one person. */
  async open(owner: string, send: Send): Promise<void> {
    this.#owner = owner;
    this.#send = send;
    // The last keys before the page goes are not left to a timer.
    if (typeof document !== 'undefined') addEventListener('pagehide', () => this.#keepAll());
    try {
      for (const row of await this.#db.all(owner, Date.now())) {
        const id = `${row.call_id}/${row.kind}`;
        if (!this.all.has(id)) this.all.set(id, { ...row, conflict: null, status: row.dirty ? 'kept' : 'saved' });
      }
    } catch {
      this.kept = false;
    }
  }

  find(callId: string, kind: string): Live | undefined {
    return this.all.get(`${callId}/${kind}`);
  }
  /** The newest draft of a call that holds something. */
  newest(callId: string): Live | undefined {
    let best: Live | undefined;
    for (const d of this.all.values()) {
      if (d.call_id === callId && hasText(d.fields) && (!best || d.updated_ms > best.updated_ms)) best = d;
    }
    return best;
  }

  /** The person changed fields. */
  edit(callId: string, kind: string, changes: Fields): void {
    const id = `${callId}/${kind}`;
    this.#logged.delete(id);
    const old = this.all.get(id);
    const draft: Live = {
      key: `${this.#owner}/${id}`,
      owner: this.#owner,
      call_id: callId,
      kind,
      rev: old?.rev ?? 0,
      save_key: old?.save_key ?? crypto.randomUUID(),
      conflict: old?.conflict ?? null,
      fields: { ...old?.fields, ...changes },
      dirty: true,
      status: 'kept',
      updated_ms: Date.now(),
    };
    this.all.set(id, draft);
    this.#keepSoon(id);
    this.#sendSoon(id, SERVER_MS);
  }

  /** This page logged the case. */
  logged(callId: string, kind: string): void {
    this.clear(callId, kind);
    this.#logged.add(`${callId}/${kind}`);
  }

  /** The case is logged: nothing is left to keep. */
  clear(callId: string, kind: string): void {
    const id = `${callId}/${kind}`;
    const draft = this.all.get(id);
    clearTimeout(this.#local.get(id));
    clearTimeout(this.#server.get(id)?.timer);
    this.#local.delete(id);
    this.#server.delete(id);
    this.#sent.delete(id);
    this.all.delete(id);
    if (draft) this.#db.remove(draft.key).catch(() => undefined);
  }

  /** What nobody will finish, on the agent's own word: emptied here and on the server. */
  discard(callId: string, kind: string): void {
    const draft = this.find(callId, kind);
    if (!draft) return;
    this.edit(callId, kind, Object.fromEntries(Object.keys(draft.fields).map((name) => [name, ''])));
  }

  /** The server's drafts, after a snapshot or an event. `cleared` ones are no longer in the list. */
  reconcile(server: readonly Draft[]): void {
    this.#theirs = server;
    for (const theirs of server) {
      const id = `${theirs.call_id}/${theirs.kind}`;
      const mine = this.all.get(id);
      const sent = this.#sent.get(id);
      if (!mine && this.#logged.has(id)) {
        if (hasText(toFields(theirs.fields))) this.#empty(theirs);
        continue;
      }
      if (mine && sent && sameFields(sent, toFields(theirs.fields))) {
        this.#sent.delete(id);
        const clean = sameFields(mine.fields, sent);
        this.#set(id, { ...mine, rev: theirs.rev, dirty: !clean, status: clean ? 'saved' : 'kept' });
        continue;
      }
      switch (compare(mine, theirs)) {
        case 'same':
          if (mine && mine.rev <= theirs.rev && sameFields(mine.fields, toFields(theirs.fields))) {
            this.#set(id, { ...mine, rev: theirs.rev, dirty: false, status: 'saved', conflict: null });
          }
          break;
        case 'take_theirs':
          this.#set(id, {
            key: `${this.#owner}/${id}`,
            owner: this.#owner,
            call_id: theirs.call_id,
            kind: theirs.kind,
            fields: toFields(theirs.fields),
            rev: theirs.rev,
            dirty: false,
            save_key: mine?.save_key ?? crypto.randomUUID(),
            updated_ms: theirs.updated_ms,
            conflict: null,
            status: 'saved',
          });
          break;
        case 'send_mine':
          if (mine) this.#set(id, { ...mine, rev: theirs.rev });
          this.#sendSoon(id, 0);
          break;
        case 'conflict':
          if (mine && !this.#flying.has(id)) this.#set(id, { ...mine, conflict: theirs });
          break;
      }
    }
  }

  /** Sends what the server does not have, after a reconnect. */
  flush(): void {
    for (const [id, d] of this.all) if (d.dirty && !d.conflict && (d.rev > 0 || hasText(d.fields))) this.#sendSoon(id, 0);
  }

  /** The agent chose between the two texts. */
  resolve(callId: string, kind: string, fields: Fields): void {
    const id = `${callId}/${kind}`;
    const draft = this.all.get(id);
    if (!draft?.conflict) return;
    this.all.set(id, { ...draft, rev: draft.conflict.rev, conflict: null });
    this.edit(callId, kind, fields);
  }

  #empty({ call_id, kind, rev }: Draft): void {
    // Where it fails it is only offered again as unfinished.
    this.#send({ t: 'draft.save', d: { call_id, kind, fields: {} } }, rev).catch(() => undefined);
  }

  #set(id: string, draft: Live): void {
    this.all.set(id, draft);
    this.#keepSoon(id);
  }

  #keepSoon(id: string): void {
    if (this.#local.has(id)) return;
    this.#local.set(id, setTimeout(() => this.#keepNow(id), LOCAL_MS));
  }
  #keepAll(): void {
    for (const [id, timer] of [...this.#local]) {
      clearTimeout(timer);
      this.#keepNow(id);
    }
  }
  #keepNow(id: string): void {
    this.#local.delete(id);
    const d = this.all.get(id);
    if (!d) return;
    const { conflict: _c, status: _s, ...row } = d;
    this.#db.put({ ...row, fields: { ...row.fields } }).then(
      () => (this.kept = true),
      () => (this.kept = false),
    );
  }

  #sendSoon(id: string, waitMs: number): void {
    const old = this.#server.get(id);
    const now = Date.now();
    const firstMs = old?.firstMs ?? now;
    clearTimeout(old?.timer);
    const wait = Math.min(waitMs, Math.max(0, firstMs + SERVER_LATEST_MS - now));
    this.#server.set(id, { firstMs, timer: setTimeout(() => void this.#sendNow(id), wait) });
  }

  async #sendNow(id: string): Promise<void> {
    this.#server.delete(id);
    const draft = this.all.get(id);
    if (!draft || !draft.dirty || draft.conflict) return;
    if (this.#flying.has(id)) {
      this.#sendSoon(id, SERVER_MS);
      return;
    }
    this.#flying.add(id);
    const fields = { ...draft.fields };
    this.#sent.set(id, fields);
    this.all.set(id, { ...draft, status: 'saving' });
    try {
      await this.#send({ t: 'draft.save', d: { call_id: draft.call_id, kind: draft.kind, fields } }, draft.rev);
    } catch (error) {
      this.#sent.delete(id);
      const now = this.all.get(id);
      if (now) this.all.set(id, { ...now, status: 'kept' });
      this.#flying.delete(id);
      if (error instanceof Refused && error.code === 'conflict') this.reconcile(this.#theirs);
      else if (error instanceof Refused && error.retryable && error.code !== 'lost') this.#sendSoon(id, RETRY_MS);
    } finally {
      this.#flying.delete(id);
    }
  }
}
