/** Who is signed in. `me` is unknown until the server has said. */
import { ApiError, del, get } from './api';
import { i18n } from './i18n/index.svelte';
import type { Me } from './records';

class Session {
  me = $state.raw<Me | null>(null);
  status = $state<'unknown' | 'in' | 'out' | 'away'>('unknown');

  async load(): Promise<void> {
    try {
      const me = await get<Me>('me');
      i18n.timezone = me.tenant.timezone || undefined;
      await i18n.suggest(me.tenant.locale);
      this.me = me;
      this.status = 'in';
    } catch (error) {
      this.status = error instanceof ApiError && (error.status === 401 || error.status === 403) ? 'out' : 'away';
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
