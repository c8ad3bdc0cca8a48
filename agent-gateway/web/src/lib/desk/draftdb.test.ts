import 'fake-indexeddb/auto';
import { expect, it } from 'vitest';
import { DraftDb, KEEP_MS, type StoredDraft } from './draftdb';

const row = (key: string, owner: string, updatedMs: number): StoredDraft => ({
  key, owner, call_id: key, kind: 'repair', fields: { title: key }, rev: 1, dirty: true, save_key: 's', updated_ms: updatedMs,
});

it('gives a person their own drafts back, and forgets the old ones', async () => {
  const now = 10 * KEEP_MS;
  const db = new DraftDb();
  await db.put(row('a', 'demo/1001', now - 5));
  await db.put(row('b', 'demo/1002', now - 5));
  await db.put(row('c', 'demo/1001', now - KEEP_MS));
  expect((await db.all('demo/1001', now)).map((d) => d.key)).toEqual(['a']);
  await db.remove('a');
  expect(await new DraftDb().all('demo/1001', now)).toEqual([]);
  expect((await new DraftDb().all('demo/1002', now)).map((d) => d.key)).toEqual(['b']);
});
