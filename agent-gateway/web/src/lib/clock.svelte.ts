/** The server's time, by this page's clock and the difference the server told us; ticks twice a second for timers. */
const TICK_MS = 500;

class Clock {
  now = $state(Date.now());
  #skew = 0;
  constructor() {
    if (typeof window !== 'undefined') setInterval(() => this.tick(), TICK_MS);
  }
  sync(serverMs: number): void {
    this.#skew = serverMs - Date.now();
    this.tick();
  }
  exact(): number {
    return Date.now() + this.#skew;
  }
  tick(): void {
    this.now = this.exact();
  }
}
export const clock = new Clock();
