/** Alarms as a person reads them: what it means and what to do, by code; a code we have no words for speaks for itself. */
import type { Alarm } from './generated';
import { i18n } from './i18n/index.svelte';

/** One raising of an alarm: raised anew, it is another. */
export const alarmKey = (alarm: Alarm): string => `${alarm.code}/${alarm.since_ms}`;

export function alarmWords(alarm: Alarm): { what: string; todo: string | null } {
  const what = i18n.known('alarm', alarm.code);
  if (what === null) return { what: alarm.message || alarm.code, todo: null };
  return { what, todo: i18n.known('alarm_todo', alarm.code) };
}
