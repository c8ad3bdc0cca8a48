/** One colour, one icon and one word for each state (desktop.md, "Looks"). */
import type { AgentState } from '../generated';
import type { IconName } from '../ui/Icon.svelte';

export type Tone = 'ready' | 'offered' | 'talking' | 'held' | 'wrapup' | 'break' | 'offline' | 'alarm' | 'neutral';

export const STATE_ICON: Record<AgentState, IconName> = {
  offline: 'ringoff',
  ready: 'checkcircle',
  offered: 'bell',
  talking: 'phone',
  wrapup: 'pen',
  break: 'cup',
};

export function outcomeTone(outcome: string): Tone {
  switch (outcome) {
    case 'answered':
      return 'ready';
    case 'abandoned_ivr':
    case 'completed_ivr':
    case 'callback':
    case 'voicemail':
      return 'neutral';
    case 'abandoned_queue':
    case 'abandoned_ringing':
    case 'overflowed':
    case 'no_answer':
    case 'busy':
      return 'held';
    default:
      return 'alarm';
  }
}

export function riskTone(risk: string): Tone {
  return /^(high|高|critical)/i.test(risk) ? 'alarm' : /^(medium|mid|中)/i.test(risk) ? 'held' : 'neutral';
}
