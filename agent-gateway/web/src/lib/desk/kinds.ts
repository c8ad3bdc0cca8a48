/** What the form asks for each kind of case. Shared fields live on when the kind is switched. */
import * as v from 'valibot';
import type { IconName } from '../ui/Icon.svelte';
import type { CaseKind } from '../records';
import type { Fields } from './draftdb';

export const KIND_ICON: Record<CaseKind, IconName> = {
  inquiry: 'inquiry',
  complaint: 'complaint',
  repair: 'repair',
  follow_up: 'follow_up',
  rescue: 'rescue',
};

/** Columns of every case, kept across kinds. */
export const SHARED = ['title', 'description', 'customer_id', 'product_id', 'place', 'callback_number'] as const;

/** A kind's own fields; those with `options` are choices, translated by `choice.NAME.OPTION`. */
export type Extra = { name: ExtraName; options?: readonly string[]; type?: 'date' };
export type ExtraName =
  | 'topic' | 'about' | 'severity' | 'demand' | 'fault_code' | 'mileage' | 'due' | 'result' | 'plate' | 'condition' | 'safety';

export const EXTRAS: Record<CaseKind, readonly Extra[]> = {
  inquiry: [{ name: 'topic', options: ['usage', 'parts', 'warranty', 'station', 'price', 'other'] }],
  complaint: [
    { name: 'about', options: ['product', 'parts', 'service', 'station', 'other'] },
    { name: 'severity', options: ['minor', 'serious', 'critical'] },
    { name: 'demand' },
  ],
  repair: [{ name: 'fault_code' }, { name: 'mileage' }],
  follow_up: [
    { name: 'due', type: 'date' },
    { name: 'result', options: ['satisfied', 'neutral', 'dissatisfied', 'unreachable'] },
  ],
  rescue: [
    { name: 'condition', options: ['no_start', 'stopped', 'accident', 'leak', 'other'] },
    { name: 'safety', options: ['safe', 'exposed', 'danger'] },
    { name: 'plate' },
  ],
};

const filled = (key: string) => v.pipe(v.optional(v.string(), ''), v.trim(), v.minLength(1, key));
const number = (key: string) => v.pipe(v.optional(v.string(), ''), v.trim(), v.regex(/^$|^[+]?[\d\s()-]{3,20}$/, key));

const base = { title: v.pipe(filled('error.title'), v.maxLength(200, 'error.long')), callback_number: number('error.number') };
const CASE = v.object(base);
const RESCUE = v.object({
  ...base,
  place: filled('error.place'),
  callback_number: v.pipe(filled('error.callback'), v.regex(/^[+]?[\d\s()-]{3,20}$/, 'error.number')),
});
const NOTE = v.object({ note: filled('error.note') });

export type ErrorKey =
  | 'error.title' | 'error.long' | 'error.number' | 'error.place' | 'error.callback' | 'error.note' | 'error.server';

/** What stops a case from being logged, by field; empty: nothing. */
export function problems(kind: CaseKind | 'note', fields: Fields): Record<string, ErrorKey> {
  const result = v.safeParse(kind === 'note' ? NOTE : kind === 'rescue' ? RESCUE : CASE, fields);
  const out: Record<string, ErrorKey> = {};
  for (const issue of result.issues ?? []) {
    const name = String(issue.path?.[0]?.key ?? '');
    out[name] ??= issue.message as ErrorKey;
  }
  return out;
}

/** The request that logs a case. */
export function caseBody(kind: CaseKind, callId: string, fields: Fields): Record<string, unknown> {
  const text = (name: string): string | null => fields[name]?.trim() || null;
  const extras: Record<string, string> = {};
  for (const { name } of EXTRAS[kind]) {
    const value = text(name);
    if (value !== null) extras[name] = value;
  }
  return {
    kind,
    title: text('title') ?? '',
    description: text('description') ?? '',
    status: fields['status'] || 'open',
    priority: fields['priority'] || (kind === 'rescue' ? 'urgent' : 'normal'),
    customer_id: text('customer_id'),
    product_id: text('product_id'),
    call_id: callId,
    place: text('place'),
    callback_number: text('callback_number'),
    fields: extras,
  };
}
