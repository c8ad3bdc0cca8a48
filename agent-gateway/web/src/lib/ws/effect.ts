/**
 * A server that was started anew does not know the ids of commands before. Whether a command whose answer was lost has had its
 * effect is then read from the state: what is so already is done; anything else is sent again, with its id. Pure.
 */
import type { CallView } from '../generated';
import { sameFields, toFields } from '../desk/merge';
import type { DeskState } from './fold';
import type { ClientCommand } from './types';

/** Whether nothing is left to do: the effect is there, or what it was about is over. */
export function hadEffect(command: ClientCommand, state: DeskState): boolean {
  const call = (id: string): CallView | undefined => state.calls.find((c) => c.call_id === id);
  const talking = (id: string): CallView | undefined => state.calls.find((c) => c.call_id === id && c.ended_ms === null);
  switch (command.t) {
    case 'agent.set_state': {
      const { agent } = state;
      if (!agent) return false;
      const { state: wanted, reason } = command.d;
      const busy = agent.state === 'offered' || agent.state === 'talking' || agent.state === 'wrapup';
      if (busy && wanted === 'ready') return agent.next === null;
      const now = busy ? agent.next : agent;
      return now?.state === wanted && (now.reason ?? null) === (reason ?? null);
    }
    case 'offer.accept':
    case 'offer.reject':
      return !state.offers.some((o) => o.offer_id === command.d.offer_id);
    case 'call.hangup':
      return talking(command.d.call_id) === undefined;
    case 'call.hold':
      return talking(command.d.call_id)?.held_since_ms !== null;
    case 'call.retrieve':
      return (talking(command.d.call_id)?.held_since_ms ?? null) === null;
    case 'call.mute':
      return talking(command.d.call_id)?.muted !== false;
    case 'call.unmute':
      return talking(command.d.call_id)?.muted !== true;
    case 'call.dtmf':
      // Whether it was heard can not be told: rather press once more than a key twice.
      return true;
    case 'call.transfer':
    case 'call.complete':
      return talking(command.d.call_id)?.leads !== true;
    case 'call.consult':
      return talking(command.d.call_id)?.state !== 'talking' && talking(command.d.call_id)?.state !== 'held';
    case 'call.swap':
      return call(command.d.call_id)?.ver !== command.expect_ver;
    case 'call.cancel_consult':
      return talking(command.d.call_id)?.state !== 'consulting';
    case 'call.conference':
      return talking(command.d.call_id)?.state !== 'consulting';
    case 'call.supervise':
      return talking(command.d.call_id)?.listens === command.d.mode;
    case 'wrapup.extend':
      // The one that would have its effect twice: it names the version it extends.
      return call(command.d.call_id)?.ver !== command.expect_ver;
    case 'wrapup.finish':
      return call(command.d.call_id) === undefined;
    case 'draft.save': {
      const { call_id, kind, fields } = command.d;
      const kept = state.drafts.find((d) => d.call_id === call_id && d.kind === kind);
      return kept !== undefined && sameFields(toFields(kept.fields), toFields(fields));
    }
    case 'media.offer':
    case 'session.take_control':
    case 'sub':
    case 'unsub':
      return false;
  }
}
