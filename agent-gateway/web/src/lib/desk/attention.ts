/** A ringing call is noticed without taking the focus: the title flashes, a hidden page shows a Notification. */
import type { OfferCreated } from '../generated';
import { phone } from '../duration';
import { t } from '../i18n/index.svelte';
import { names } from '../names.svelte';
import { desk } from './desk.svelte';

const FLASH_MS = 900;
let flashing: ReturnType<typeof setInterval> | undefined;
let shown: Notification | undefined;

export function callerName(offer: OfferCreated): string {
  const [first, second] = offer.pop.candidates;
  if (!first) return t('pop.unknown');
  return second ? t('pop.several', { count: offer.pop.candidates.length }) : first.name;
}

export function onOffer(offer: OfferCreated): void {
  const plain = t('app.title');
  const ringing = `☎ ${callerName(offer)} ${phone(offer.pop.number)}`;
  const stop = (): void => {
    clearInterval(flashing);
    flashing = undefined;
    shown?.close();
    shown = undefined;
    document.title = plain;
  };
  stop();
  let on = true;
  document.title = ringing;
  flashing = setInterval(() => {
    if (!desk.state.offers.some((o) => o.offer_id === offer.offer_id)) stop();
    else document.title = (on = !on) ? ringing : plain;
  }, FLASH_MS);
  if (document.hidden && 'Notification' in window && Notification.permission === 'granted') {
    shown = new Notification(callerName(offer), { body: `${phone(offer.pop.number)} · ${names.queue(offer.queue)}`, tag: 'zongji-offer' });
    shown.onclick = () => window.focus();
  }
}

/** Asked for on a person's own action (going ready), as browsers require. */
export function askNotifications(): void {
  if ('Notification' in window && Notification.permission === 'default') void Notification.requestPermission();
}
