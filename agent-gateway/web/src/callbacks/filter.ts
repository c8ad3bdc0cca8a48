/** The filters of the address, and what a callback's state looks like. */
import type { CallbackState } from '../lib/generated';
import type { Tone } from '../lib/desk/tones';
import type { IconName } from '../lib/ui/Icon.svelte';

export const FIELDS = ['state', 'queue', 'agent', 'number'] as const;
export type Filter = Record<(typeof FIELDS)[number], string>;

export const STATES = ['waiting', 'reserved', 'dialing', 'done', 'failed', 'cancelled'] as const satisfies readonly CallbackState[];

export const TONE: Record<CallbackState, Tone> = {
  waiting: 'held',
  reserved: 'offered',
  dialing: 'talking',
  done: 'ready',
  failed: 'alarm',
  cancelled: 'neutral',
};
export const ICON: Record<CallbackState, IconName> = {
  waiting: 'clock',
  reserved: 'user',
  dialing: 'phone',
  done: 'check',
  failed: 'complaint',
  cancelled: 'x',
};
