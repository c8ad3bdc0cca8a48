/** Records as the API gives them. Times are UTC milliseconds, ids strings. */
export const KINDS = ['inquiry', 'complaint', 'repair', 'follow_up', 'rescue'] as const;
export type CaseKind = (typeof KINDS)[number];
export type CaseStatus = 'open' | 'in_progress' | 'resolved' | 'closed';
export type Priority = 'low' | 'normal' | 'high' | 'urgent';

export interface Contact {
  id: string;
  customer_id: string;
  kind: 'phone' | 'email' | 'wechat' | 'other';
  value: string;
  label: string | null;
  version: number;
}
export interface Product {
  id: string;
  customer_id: string;
  model: string;
  serial: string;
  purchased_on: string | null;
  warranty_until: string | null;
  version: number;
}
export interface Customer {
  id: string;
  name: string;
  company: string | null;
  value_class: string | null;
  risk: string | null;
  locale: string | null;
  notes: string | null;
  contacts: Contact[];
  products: Product[];
  version: number;
  created_ms: number;
  updated_ms: number;
}
export interface Case {
  id: string;
  number: number | string;
  kind: CaseKind;
  status: CaseStatus;
  priority: Priority;
  title: string;
  description: string | null;
  customer_id: string | null;
  product_id: string | null;
  call_id: string | null;
  place: string | null;
  callback_number: string | null;
  agent: string | null;
  fields: Record<string, unknown>;
  version: number;
  created_ms: number;
  updated_ms: number;
}
export interface Me {
  tenant: { id: string; name: string; locale: string; timezone: string };
  user: { name: string; display: string; role: string };
  break_reasons: string[];
  dispositions: string[];
  case_kinds: string[];
  queues: string[];
}
export interface Segment {
  kind: 'ivr' | 'queue' | 'ringing' | 'talk' | 'hold' | 'wrapup';
  queue: string | null;
  agent: string | null;
  started_ms: number;
  ended_ms: number;
}
export interface Leg {
  id: string;
  role: 'customer' | 'agent';
  agent: string | null;
  started_ms: number;
  answered_ms: number | null;
  ended_ms: number;
  cause: string;
  codec: string | null;
}
export interface Call {
  id: string;
  tenant: string;
  direction: 'inbound' | 'outbound' | 'internal';
  outcome: string;
  cause: string;
  from: string;
  to: string;
  trunk: string | null;
  ivr_path: string[];
  queue: string | null;
  agent: string | null;
  customer_id: string | null;
  case_ids: string[];
  started_ms: number;
  queued_ms: number | null;
  offered_ms: number | null;
  answered_ms: number | null;
  ended_ms: number;
  wait_ms: number;
  ring_ms: number;
  talk_ms: number;
  hold_ms: number;
  wrapup_ms: number | null;
  legs: Leg[];
  segments?: Segment[];
  recording: { id: string; duration_ms: number | null; channels: number | null; sha256: string | null; state: 'recording' | 'sealed' | 'failed' } | null;
  disposition: string | null;
}
export interface Page<T> {
  items: T[];
  next: string | null;
}
export const OUTCOMES = [
  'answered', 'abandoned_ivr', 'abandoned_queue', 'abandoned_ringing', 'overflowed', 'voicemail', 'callback',
  'rejected', 'failed', 'interrupted', 'completed_ivr', 'no_answer', 'busy',
] as const;
export type Outcome = (typeof OUTCOMES)[number];
