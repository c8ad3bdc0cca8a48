import { expect, it } from 'vitest';
import type { AgentView, CallView, Draft, OfferCreated } from '../generated';
import { hadEffect } from './effect';
import { EMPTY, type DeskState } from './fold';
import type { AnyCommand } from './types';

const call = (over: Partial<CallView>): CallView => ({ call_id: 'c', ended_ms: null, held_since_ms: null, muted: false, ver: 3, ...over }) as CallView;
const agent = (over: Partial<AgentView>): AgentView => ({ state: 'ready', reason: null, next: null, ver: 1, ...over }) as AgentView;
const state = (over: Partial<DeskState>): DeskState => ({ ...EMPTY, known: true, ...over });
const had = (command: AnyCommand, over: Partial<DeskState>, expect_ver?: number): boolean =>
  hadEffect({ id: 'x', ...command, ...(expect_ver === undefined ? {} : { expect_ver }) }, state(over));

it('a call that was hung up is not hung up again, one that goes on is', () => {
  const hangup: AnyCommand = { t: 'call.hangup', d: { call_id: 'c' } };
  expect(had(hangup, { calls: [call({})] })).toBe(false);
  expect(had(hangup, { calls: [call({ ended_ms: 9 })] })).toBe(true);
  expect(had(hangup, { calls: [] })).toBe(true);
});
it('hold and mute are compared with the call', () => {
  const held = { calls: [call({ held_since_ms: 5, muted: true })] };
  const plain = { calls: [call({})] };
  const is = (t: 'call.hold' | 'call.retrieve' | 'call.mute' | 'call.unmute', over: Partial<DeskState>) => had({ t, d: { call_id: 'c' } }, over);
  expect([is('call.hold', held), is('call.hold', plain), is('call.retrieve', held), is('call.retrieve', plain)]).toEqual([true, false, false, true]);
  expect([is('call.mute', held), is('call.mute', plain), is('call.unmute', held), is('call.unmute', plain)]).toEqual([true, false, false, true]);
  expect(is('call.hold', { calls: [call({ ended_ms: 9 })] })).toBe(true);
});
it('an offer that is over needs no answer', () => {
  const rings = { offers: [{ offer_id: 'o' } as OfferCreated] };
  expect(had({ t: 'offer.accept', d: { offer_id: 'o' } }, rings)).toBe(false);
  expect(had({ t: 'offer.accept', d: { offer_id: 'o' } }, {})).toBe(true);
  expect(had({ t: 'offer.reject', d: { offer_id: 'o', reason: null } }, {})).toBe(true);
});
it('a state is there at once, or as what comes after the call', () => {
  const lunch: AnyCommand = { t: 'agent.set_state', d: { state: 'break', reason: 'lunch' } };
  const ready: AnyCommand = { t: 'agent.set_state', d: { state: 'ready', reason: null } };
  expect(had(lunch, { agent: agent({ state: 'break', reason: 'lunch' }) })).toBe(true);
  expect(had(lunch, { agent: agent({ state: 'break', reason: 'meeting' }) })).toBe(false);
  expect(had(lunch, { agent: agent({ state: 'talking', next: { state: 'break', reason: 'lunch' } }) })).toBe(true);
  expect(had(ready, { agent: agent({ state: 'talking', next: { state: 'break', reason: 'lunch' } }) })).toBe(false);
  expect(had(ready, { agent: agent({ state: 'talking' }) })).toBe(true);
  expect(had(ready, { agent: null })).toBe(false);
});
it('wrap-up is extended once: the version tells', () => {
  const extend: AnyCommand = { t: 'wrapup.extend', d: { call_id: 'c' } };
  expect(had(extend, { calls: [call({ ended_ms: 9, ver: 3 })] }, 3)).toBe(false);
  expect(had(extend, { calls: [call({ ended_ms: 9, ver: 4 })] }, 3)).toBe(true);
  expect(had({ t: 'wrapup.finish', d: { call_id: 'c', disposition: 'resolved' } }, { calls: [] })).toBe(true);
});
it('a draft is saved when the server has the same text', () => {
  const save: AnyCommand = { t: 'draft.save', d: { call_id: 'c', kind: 'inquiry', fields: { title: 'a' } } };
  const kept = (title: string): Draft => ({ call_id: 'c', kind: 'inquiry', fields: { title }, rev: 2, updated_ms: 1 });
  expect(had(save, { drafts: [kept('a')] })).toBe(true);
  expect(had(save, { drafts: [kept('b')] })).toBe(false);
  expect(had(save, {})).toBe(false);
});
