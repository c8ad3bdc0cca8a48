import { describe, expect, it } from 'vitest';
import type { Draft } from '../generated';
import type { StoredDraft } from './draftdb';
import { compare, differing, hasText } from './merge';

const mine = (title: string, rev: number, dirty: boolean): StoredDraft => ({
  key: 'k', owner: 'o', call_id: 'c', kind: 'repair', fields: { title, _number: '1' }, rev, dirty, save_key: 's', updated_ms: 0,
});
const theirs = (title: string, rev: number): Draft => ({ call_id: 'c', kind: 'repair', fields: { title }, rev, updated_ms: 0 });

describe('a draft known here and on the server', () => {
  it.each([
    ['nothing here: the server’s is taken', undefined, theirs('a', 1), 'take_theirs'],
    ['the same text', mine('a', 1, true), theirs('a', 2), 'same'],
    ['typed here since: sent', mine('b', 1, true), theirs('a', 1), 'send_mine'],
    ['typed here, nothing there: sent', mine('b', 0, true), undefined, 'send_mine'],
    ['changed there since, untouched here: taken', mine('a', 1, false), theirs('b', 2), 'take_theirs'],
    ['changed on both sides: both are shown', mine('b', 1, true), theirs('c', 2), 'conflict'],
    ['typed here before knowing of another: both are shown', mine('b', 0, true), theirs('c', 1), 'conflict'],
    ['saved here, gone there: nothing to do', mine('a', 3, false), undefined, 'same'],
  ])('%s', (_name, here, there, verdict) => {
    expect(compare(here, there)).toBe(verdict);
  });
  it('shows the fields that differ, not those of the desk', () => {
    expect(differing({ title: 'a', place: 'x', _number: '1' }, { title: 'b', place: 'x' })).toEqual(['title']);
  });
});

it('a prefilled form is not a draft worth keeping, a typed one is', () => {
  expect(hasText({ _number: '1', callback_number: '1', customer_id: 'c', priority: 'urgent', title: ' ' })).toBe(false);
  expect(hasText({ description: 'x' })).toBe(true);
});
