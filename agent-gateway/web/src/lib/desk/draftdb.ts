/** Drafts in IndexedDB: what survives a reload, a crash of the browser and a lost network. */
export interface StoredDraft {
  /** `tenant/user/call/kind` */
  key: string;
  owner: string;
  call_id: string;
  kind: string;
  fields: Fields;
  /** The server's `rev` this text was made from; 0: none yet. */
  rev: number;
  /** Not yet (or not again) on the server. */
  dirty: boolean;
  /** The Idempotency-Key of the case this becomes, so that a repeated save logs it once. */
  save_key: string;
  updated_ms: number;
}
export type Fields = Record<string, string>;

const NAME = 'zongji';
const STORE = 'drafts';
/** Older ones belong to calls long gone. */
export const KEEP_MS = 14 * 24 * 3_600_000;

export class DraftDb {
  #db: Promise<IDBDatabase> | null = null;

  /** All drafts of one person on this browser; those too old are removed. */
  async all(owner: string, nowMs: number): Promise<StoredDraft[]> {
    const rows = await this.#run<StoredDraft[]>('readonly', (s) => s.index('owner').getAll(owner));
    const [kept, old] = [rows.filter((r) => nowMs - r.updated_ms < KEEP_MS), rows.filter((r) => nowMs - r.updated_ms >= KEEP_MS)];
    for (const row of old) await this.remove(row.key);
    return kept;
  }
  put(draft: StoredDraft): Promise<unknown> {
    return this.#run('readwrite', (s) => s.put(draft));
  }
  remove(key: string): Promise<unknown> {
    return this.#run('readwrite', (s) => s.delete(key));
  }

  #open(): Promise<IDBDatabase> {
    this.#db ??= new Promise((resolve, reject) => {
      const open = indexedDB.open(NAME, 1);
      open.onupgradeneeded = () => {
        open.result.createObjectStore(STORE, { keyPath: 'key' }).createIndex('owner', 'owner');
      };
      open.onsuccess = () => resolve(open.result);
      open.onerror = () => reject(open.error ?? new Error('IndexedDB does not open'));
    });
    return this.#db;
  }
  async #run<T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest): Promise<T> {
    const db = await this.#open();
    return new Promise<T>((resolve, reject) => {
      const tx = db.transaction(STORE, mode);
      const request = work(tx.objectStore(STORE));
      tx.oncomplete = () => resolve(request.result as T);
      tx.onerror = () => reject(tx.error ?? new Error('IndexedDB refused'));
      tx.onabort = () => reject(tx.error ?? new Error('IndexedDB is full'));
    });
  }
}
