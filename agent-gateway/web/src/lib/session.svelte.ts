/** Who is signed in. `me` is unknown until the server has said. */
import { ApiError, del, get } from './api';
import { i18n } from './i18n/index.svelte';
import type { Me } from './records';
import { backoffMs } from './ws/backoff';

class Session {
  me = $state.raw<Me | null>(null);
  status = $state<'unknown' | 'in' | 'out' | 'away'>('unknown');
  #tries = 0;
  #again: ReturnType<typeof setTimeout> | undefined;

  /** Asks the server; one that is away is asked again until it is there. */
  async load(): Promise<void> {
    clearTimeout(this.#again);
    try {
      const me = await get<Me>('me');
      i18n.timezone = me.tenant.timezone || undefined;
      await i18n.suggest(me.tenant.locale);
      this.me = me;
      this.status = 'in';
      this.#tries = 0;
    } catch (error) {
      this.status = error instanceof ApiError && (error.status === 401 || error.status === 403) ? 'out' : 'away';
      if (this.status === 'away') this.#again = setTimeout(() => void this.load(), backoffMs((this.#tries += 1), Math.random()));
    }
  }
  expired(): void {
    this.me = null;
    this.status = 'out';
  }
  async signOut(): Promise<void> {
    try {
      await del('session');
    } finally {
      this.expired();
    }
  }
}
export const session = new Session();
