import { describe, expect, it } from 'vitest';
import { caseBody, problems } from './kinds';

describe('what stops a case', () => {
  it.each([
    ['an inquiry without a subject', 'inquiry', {}, ['title']],
    ['an inquiry with one', 'inquiry', { title: 'x' }, []],
    ['a rescue without place and number', 'rescue', { title: 'x' }, ['callback_number', 'place']],
    ['a rescue with both', 'rescue', { title: 'x', place: 'G3 K512', callback_number: '+86 138-0531-0001' }, []],
    ['a number that is none', 'repair', { title: 'x', callback_number: 'later' }, ['callback_number']],
    ['a note without text', 'note', { note: '  ' }, ['note']],
  ] as const)('%s', (_name, kind, fields, expected) => {
    expect(Object.keys(problems(kind, fields)).sort()).toEqual(expected);
  });
});

it('a case takes the kind’s own fields and leaves the others out', () => {
  const body = caseBody('repair', 'call', { title: ' t ', fault_code: 'P0101', topic: 'parts', customer_id: '', _number: '1' });
  expect(body).toMatchObject({ kind: 'repair', title: 't', customer_id: null, call_id: 'call', fields: { fault_code: 'P0101' } });
  expect(body['fields']).not.toHaveProperty('topic');
  expect(caseBody('rescue', 'call', { title: 't' })['priority']).toBe('urgent');
});
