/** The work on one call: whose call it is, which kind of case, and what was logged. Text lives in `Drafts`. */
import { untrack } from 'svelte';
import type { Candidate } from '../generated';
import { ApiError, get, patch, post } from '../api';
import { KINDS, type Case, type CaseKind, type CaseStatus, type Customer } from '../records';
import { desk, type Work } from './desk.svelte';
import type { Fields } from './draftdb';
import { caseBody, problems, SHARED, type ErrorKey } from './kinds';
import { hasText } from './merge';

/** Models kept; the oldest goes first. */
const MODELS_MAX = 50;
/** Kinds of drafts have at most 40 bytes; a case's id has 36. */
const NOTE = 'n:';

export class CaseWork {
  kind = $state<CaseKind>('inquiry');
  customerId = $state<string | null>(null);
  customer = $state.raw<Customer | null>(null);
  customerError = $state<string | null>(null);
  /** The open case being continued, instead of a new one. */
  continued = $state.raw<Case | null>(null);
  saved = $state.raw<Case[]>([]);
  lastWas = $state<'case' | 'note'>('case');
  saving = $state(false);
  errors = $state.raw<Record<string, ErrorKey>>({});
  problem = $state<string | null>(null);
  /** Grows when the customer's cases changed. */
  changed = $state(0);
  /** The agent, or a draft of theirs, has said what this is: nothing is guessed any more. */
  #settled = false;

  constructor(
    readonly callId: string,
    work: Work,
  ) {
    this.kind = KINDS.find((k) => k === work.caseKind) ?? 'inquiry';
    this.update(work);
  }

  get draftKind(): string {
    return this.continued ? `${NOTE}${this.continued.id}` : this.kind;
  }
  draft = $derived.by(() => desk.drafts.find(this.callId, this.draftKind));
  fields: Fields = $derived.by(() => ({ ...this.#prefill(), ...this.draft?.fields }));

  /** Drafts read from the browser or the server, and records that came after the offer. What the agent chose stands. */
  update(work: Work): void {
    if (this.#settled) return;
    const draft = desk.drafts.newest(this.callId);
    if (draft) {
      this.#settled = true;
      this.kind = KINDS.find((k) => k === draft.kind) ?? this.kind;
      if (draft.kind.startsWith(NOTE)) void this.#resumeNote(draft.kind.slice(NOTE.length));
      const known = draft.fields['customer_id'];
      if (known) this.customerId = known;
    }
    if (this.customerId === null) this.#matched(work);
  }
  /** Only one exact match is taken; anything less is for the agent to choose. */
  #matched(work: Work): void {
    const candidates = work.pop?.candidates ?? [];
    const [only] = candidates;
    if (candidates.length === 1 && only && only.why === 'phone') this.customerId = only.customer_id;
  }

  set(changes: Fields): void {
    this.#settled = true;
    desk.drafts.edit(this.callId, this.draftKind, { ...(this.draft ? {} : this.#prefill()), ...changes });
    const names = Object.keys(changes);
    if (names.some((n) => n in this.errors)) {
      this.errors = Object.fromEntries(Object.entries(this.errors).filter(([n]) => !names.includes(n)));
    }
  }

  choose(customerId: string | null): void {
    if (this.customerId !== customerId && this.fields['product_id']) this.set({ product_id: '' });
    this.customerId = customerId;
    this.customer = null;
    this.set({ customer_id: customerId ?? '' });
  }

  /** Another kind: what is shared comes along, the rest waits in its own draft. */
  switchKind(kind: CaseKind): void {
    if (kind === this.kind && !this.continued) return;
    this.#settled = true;
    const from = this.continued ? undefined : this.draft;
    const old = this.kind;
    this.continued = null;
    this.kind = kind;
    this.errors = {};
    if (!from || !hasText(from.fields)) return;
    const carried: Fields = {};
    for (const name of SHARED) if (from.fields[name]) carried[name] = from.fields[name];
    this.set(carried);
    const left: Fields = {};
    for (const name of SHARED) if (from.fields[name] && name !== 'customer_id') left[name] = '';
    desk.drafts.edit(this.callId, old, left);
  }

  continueCase(record: Case): void {
    this.#settled = true;
    this.continued = record;
    this.errors = {};
  }
  async continueById(id: string): Promise<void> {
    try {
      this.continueCase(await get<Case>(`cases/${id}`));
    } catch (error) {
      desk.say(error);
    }
  }
  newCase(): void {
    this.continued = null;
    this.errors = {};
  }
  async #resumeNote(id: string): Promise<void> {
    try {
      this.continued = await get<Case>(`cases/${id}`);
    } catch {
      // The note waits as a draft; the case may be read later.
    }
  }

  /** Logs the case, or the note on the continued one. Says whether it is done; the field to look at is in `errors`. */
  async save(): Promise<boolean> {
    if (this.saving) return false;
    this.errors = problems(this.continued ? 'note' : this.kind, this.fields);
    this.problem = null;
    if (Object.keys(this.errors).length > 0) return false;
    this.saving = true;
    try {
      if (this.continued) await this.#saveNote(this.continued);
      else await this.#saveCase();
      this.changed += 1;
      return true;
    } catch (error) {
      if (error instanceof ApiError && error.field) this.errors = { [error.field]: 'error.server' };
      this.problem = error instanceof Error ? error.message : String(error);
      return false;
    } finally {
      this.saving = false;
    }
  }
  async #saveCase(): Promise<void> {
    const kind = this.kind;
    if (!this.draft) this.set({});
    const key = this.draft?.save_key;
    const body = caseBody(kind, this.callId, { ...this.fields, customer_id: this.customerId ?? '' });
    const made = await post<Case>('cases', body, key);
    this.saved = [...this.saved, made];
    desk.drafts.logged(this.callId, kind);
    this.lastWas = 'case';
  }
  async #saveNote(record: Case): Promise<void> {
    if (!this.draft) this.set({});
    const { note, status } = this.fields;
    const key = this.draft?.save_key;
    await post(`cases/${record.id}/events`, { text: note?.trim() }, key);
    let now = record;
    if (status && status !== record.status) {
      now = await patch<Case>(`cases/${record.id}`, { version: await this.#version(record.id), status: status as CaseStatus });
    }
    this.saved = [...this.saved, now];
    // The server clears the draft of a case by itself, that of a note not.
    desk.drafts.discard(this.callId, `${NOTE}${record.id}`);
    this.lastWas = 'note';
    this.continued = null;
  }
  async #version(id: string): Promise<number> {
    return (await get<Case>(`cases/${id}`)).version;
  }

  #prefill(): Fields {
    const number = desk.work?.callId === this.callId ? (desk.work.pop?.number ?? '') : '';
    const out: Fields = {};
    if (this.customerId) out['customer_id'] = this.customerId;
    if (number) {
      out['_number'] = number;
      if (/^[+]?\d{3,}$/.test(number)) out['callback_number'] = number;
    }
    if (this.customer) out['_name'] = this.customer.name;
    return out;
  }
}

const models = new Map<string, CaseWork>();

/** The model of a call's work, made on first sight of the call. */
export function modelOf(work: Work): CaseWork {
  let model = models.get(work.callId);
  if (!model) {
    model = untrack(() => new CaseWork(work.callId, work));
    const oldest = models.keys().next().value;
    if (models.size >= MODELS_MAX && oldest !== undefined) models.delete(oldest);
    models.set(work.callId, model);
  }
  return model;
}
export function forget(): void {
  models.clear();
}

/** The candidate of the pop that is the chosen customer. */
export function candidateOf(work: Work, customerId: string | null): Candidate | null {
  return work.pop?.candidates.find((c) => c.customer_id === customerId) ?? null;
}
