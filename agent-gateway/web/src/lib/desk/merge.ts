/** What to do with a draft that this browser and the server both know. Pure. */
import type { Draft } from '../generated';
import type { Fields, StoredDraft } from './draftdb';

export type Verdict = 'same' | 'send_mine' | 'take_theirs' | 'conflict';

export function compare(mine: StoredDraft | undefined, theirs: Draft | undefined): Verdict {
  if (!mine) return theirs ? 'take_theirs' : 'same';
  if (!theirs) return mine.dirty && hasText(mine.fields) ? 'send_mine' : 'same';
  if (sameFields(mine.fields, toFields(theirs.fields))) return 'same';
  if (!mine.dirty) return theirs.rev >= mine.rev ? 'take_theirs' : 'same';
  return theirs.rev > mine.rev ? 'conflict' : 'send_mine';
}

/** Fields as the form holds them: text only. */
export function toFields(fields: Record<string, unknown>): Fields {
  const out: Fields = {};
  for (const [name, value] of Object.entries(fields)) {
    if (typeof value === 'string') out[name] = value;
    else if (typeof value === 'number' || typeof value === 'boolean') out[name] = String(value);
  }
  return out;
}

/** Names with a leading underscore are about the call (caller's number, name), not typed. */
const typed = (name: string, value: string): boolean => !name.startsWith('_') && value.trim() !== '';

/** Whether a person typed or chose something in it that would be missed. */
export function hasText(fields: Fields): boolean {
  return Object.entries(fields).some(([n, v]) => typed(n, v) && !PREFILLED.has(n));
}
/** Filled in by the desk itself. */
const PREFILLED: ReadonlySet<string> = new Set(['customer_id', 'callback_number', 'priority', 'status']);

export function sameFields(a: Fields, b: Fields): boolean {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...names].every((n) => n.startsWith('_') || (a[n] ?? '') === (b[n] ?? ''));
}

/** The fields in which two drafts differ, for the person who has to choose. */
export function differing(a: Fields, b: Fields): string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((n) => !n.startsWith('_') && (a[n] ?? '') !== (b[n] ?? ''));
}
