/**
 * The words on the screen. Messages are ICU MessageFormat; a key that one of the two files lacks does not type-check
 * and fails the build (scripts/check-i18n.mjs).
 */
import { IntlMessageFormat } from 'intl-messageformat';
import type en from './en.json';

export type Key = keyof typeof en;
export type Locale = 'zh-CN' | 'en';
export const LOCALES: readonly Locale[] = ['zh-CN', 'en'];
const STORED = 'zongji.locale';

type Values = Record<string, string | number | boolean | Date | null | undefined>;

class I18n {
  locale = $state<Locale>('zh-CN');
  timezone = $state<string | undefined>(undefined);
  #messages = $state.raw<Record<string, string>>({});
  #compiled = new Map<string, IntlMessageFormat>();

  /** Loads a locale's words and shows them; the page keeps everything else it has. */
  async use(locale: Locale, remember = true): Promise<void> {
    const words = locale === 'en' ? await import('./en.json') : await import('./zh-CN.json');
    this.#compiled.clear();
    this.#messages = words.default;
    this.locale = locale;
    document.documentElement.lang = locale;
    if (remember) store(locale);
  }

  /** The tenant's locale, unless the person has chosen one. */
  async suggest(locale: string): Promise<void> {
    if (stored() === null) await this.use(locale.toLowerCase().startsWith('zh') ? 'zh-CN' : 'en', false);
  }

  t(key: Key, values?: Values): string {
    const message = this.#messages[key];
    if (message === undefined) return key;
    if (!message.includes('{')) return message;
    let format = this.#compiled.get(key);
    if (!format) {
      format = new IntlMessageFormat(message, this.locale);
      this.#compiled.set(key, format);
    }
    return String(format.format(values));
  }

  /** For words that a tenant may add to (reasons, dispositions, topics): the tenant's own word where we have none. */
  word(prefix: string, value: string): string {
    return this.known(prefix, value) ?? value;
  }
  known(prefix: string, value: string): string | null {
    return this.#messages[`${prefix}.${value}`] ?? null;
  }

  /** 11-22 can not be read two ways in Chinese; in English the month has its name. */
  get #month(): 'short' | '2-digit' {
    return this.locale === 'en' ? 'short' : '2-digit';
  }
  #date(options: Intl.DateTimeFormatOptions, ms: number): string {
    const zone = this.timezone ? { timeZone: this.timezone } : {};
    return new Intl.DateTimeFormat(this.locale === 'en' ? 'en-GB' : this.locale, { ...options, ...zone, hourCycle: 'h23' }).format(ms);
  }
  time(ms: number): string {
    return this.#date({ hour: '2-digit', minute: '2-digit' }, ms);
  }
  timeSeconds(ms: number): string {
    return this.#date({ hour: '2-digit', minute: '2-digit', second: '2-digit' }, ms);
  }
  date(ms: number): string {
    return this.#date({ year: 'numeric', month: this.#month, day: '2-digit' }, ms);
  }
  dateTime(ms: number): string {
    return this.#date({ month: this.#month, day: '2-digit', hour: '2-digit', minute: '2-digit' }, ms);
  }
  /** Today: the time alone; else day and time. */
  short(ms: number, now: number): string {
    return this.date(ms) === this.date(now) ? this.time(ms) : this.dateTime(ms);
  }
  percent(value: number): string {
    return new Intl.NumberFormat(this.locale, { style: 'percent', maximumFractionDigits: 0 }).format(value);
  }
}

function stored(): Locale | null {
  try {
    const value = localStorage.getItem(STORED);
    return LOCALES.find((l) => l === value) ?? null;
  } catch {
    return null;
  }
}
function store(locale: Locale): void {
  try {
    localStorage.setItem(STORED, locale);
  } catch {
    // A browser that keeps nothing asks again next time.
  }
}

export const i18n = new I18n();
export const t = (key: Key, values?: Values): string => i18n.t(key, values);

export async function startI18n(): Promise<void> {
  const browser: Locale = navigator.language.toLowerCase().startsWith('zh') ? 'zh-CN' : 'en';
  await i18n.use(stored() ?? browser, false);
}
