/** Records as the API gives them: the types made from Rust, under the names this application uses. */
import type { CallSegment, CaseKind, Listing, Outcome } from './generated';

export type {
  Call,
  CallRecording,
  Case,
  CaseEvent,
  CaseKind,
  CasePriority as Priority,
  CaseStatus,
  Contact,
  Customer,
  Me,
  Product,
  Trace,
  TraceItem,
} from './generated';
export type Page<T> = Listing<T>;
export type Segment = CallSegment;

export const KINDS = ['inquiry', 'complaint', 'repair', 'follow_up', 'rescue'] as const satisfies readonly CaseKind[];
export const OUTCOMES = [
  'answered', 'abandoned_ivr', 'abandoned_queue', 'abandoned_ringing', 'overflowed', 'voicemail', 'callback',
  'rejected', 'failed', 'interrupted', 'completed_ivr', 'no_answer', 'busy',
] as const satisfies readonly Outcome[];
