/** The agent's audio in this tab: made as soon as the tab controls the desk, kept from call to call, made anew when lost. */
import type { MediaFrame } from '../ws/client';
import { DEFAULT, chosen, keep, list, openMicrophone, problemOf, unavailable, type Chosen, type Device, type Problem, type Role } from './devices';
import { AudioLink } from './link';
import { Meter, playOn, player, Ringer } from './sound';

/** What the desk says of this tab and its agent. */
export interface Wanted {
  /** This tab controls the desk of an agent who talks by the browser. */
  here: boolean;
  /** The websocket is open. */
  open: boolean;
  /** The server has this agent's audio. */
  heard: boolean;
  muted: boolean;
  ringing: boolean;
}

export type Status = 'off' | 'connecting' | 'ok' | 'lost' | Problem;

type Offer = (sdp: string, tab: string) => Promise<void>;

/** How soon a lost connection is made again, and how long the server may take to hear a new one. */
const AGAIN_MS = 1_000;
const HEARD_WITHIN_MS = 4_000;

class AudioStore {
  status = $state<Status>('off');
  microphones = $state.raw<Device[]>([]);
  speakers = $state.raw<Device[]>([]);
  chosen = $state.raw<Chosen>(chosen());
  /** 0 to 1, while somebody looks. */
  level = $state(0);
  /** Something is to be done before calls can be talked on here. */
  problem = $derived(this.status !== 'off' && this.status !== 'ok' && this.status !== 'connecting' ? this.status : null);

  readonly tab = crypto.randomUUID();
  #link: AudioLink | null = null;
  #stream: MediaStream | null = null;
  #element: HTMLAudioElement | null = null;
  #ringer = new Ringer();
  #offer: Offer | null = null;
  #wanted: Wanted = { here: false, open: false, heard: false, muted: false, ringing: false };
  #offeredMs = 0;
  #again: ReturnType<typeof setTimeout> | undefined;
  #meter: Meter | null = null;
  #looking: ReturnType<typeof setInterval> | undefined;

  start(offer: Offer): void {
    this.#offer = offer;
    navigator.mediaDevices?.addEventListener('devicechange', this.#listed);
  }

  /** Follows the desk. */
  follow(wanted: Wanted): void {
    const before = this.#wanted;
    this.#wanted = wanted;
    for (const track of this.#stream?.getAudioTracks() ?? []) track.enabled = !wanted.muted;
    if (wanted.ringing && wanted.here) this.#ringer.start(this.chosen.ringer);
    else this.#ringer.stop();
    if (!wanted.here) {
      if (before.here) this.stop();
      return;
    }
    if (!wanted.open) return;
    if (!this.#link && (this.status === 'off' || this.status === 'lost')) void this.#connect();
    else if (!wanted.heard) this.#later(Math.max(0, this.#offeredMs + HEARD_WITHIN_MS - Date.now()));
  }

  /** Frames of the server that are about this tab's audio. */
  media(frame: MediaFrame): void {
    if (frame.t === 'media.answer') void this.#link?.answer(frame.d.sdp).catch(() => this.#lost());
    else this.stop();
  }

  stop(): void {
    clearTimeout(this.#again);
    this.#again = undefined;
    this.#ringer.stop();
    this.#link?.close();
    this.#link = null;
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    if (this.#element) this.#element.srcObject = null;
    this.status = 'off';
  }

  /** The agent has changed something: a permission, a plug. */
  retry(): void {
    this.stop();
    this.follow(this.#wanted);
  }

  /** Muted at once, whatever the server's answer takes. */
  mute(muted: boolean): void {
    for (const track of this.#stream?.getAudioTracks() ?? []) track.enabled = !muted;
  }

  async choose(role: Role, id: string): Promise<void> {
    this.chosen = { ...this.chosen, [role]: id };
    keep(this.chosen);
    if (role === 'speaker' && this.#element) await playOn(this.#element, id);
    if (role === 'ringer') this.#ringer.ring(id);
    if (role === 'microphone' && this.#stream) await this.#microphone();
  }

  /** Shows the level while the returned function is not called. */
  look(): () => void {
    void this.#listed();
    if (this.#stream) this.#listen(this.#stream);
    this.#looking = setInterval(() => (this.level = this.#meter?.level() ?? 0), 80);
    return () => {
      clearInterval(this.#looking);
      this.#looking = undefined;
      this.#meter?.close();
      this.#meter = null;
      this.level = 0;
    };
  }

  async #connect(): Promise<void> {
    const problem = unavailable();
    if (problem || !this.#offer) {
      this.status = problem ?? 'off';
      return;
    }
    this.status = 'connecting';
    this.#offeredMs = Date.now();
    this.#link?.close();
    const link = new AudioLink(
      {
        state: (state) => {
          if (link !== this.#link) return;
          if (state === 'connected') this.status = 'ok';
          else if (state === 'failed') this.#lost();
        },
        stream: (stream) => this.#play(stream),
      },
      this.#stream?.getAudioTracks()[0] ?? null,
    );
    this.#link = link;
    try {
      // The microphone is opened while the connection is made.
      const opened = this.#stream ? Promise.resolve() : this.#microphone();
      const sdp = await link.offer();
      await Promise.all([opened, this.#offer(sdp, this.tab)]);
    } catch {
      if (link === this.#link && this.#link) this.#lost();
    }
  }

  /** The chosen microphone takes the place of the one in use; the connection stays. */
  async #microphone(): Promise<void> {
    let stream: MediaStream;
    try {
      stream = await openMicrophone(this.chosen.microphone);
    } catch (error) {
      // Without one nobody is heard: no call is to come here.
      if (this.#stream) return;
      this.#link?.close();
      this.#link = null;
      this.status = problemOf(error);
      return;
    }
    const [track] = stream.getAudioTracks();
    if (!track || !this.#wanted.here) {
      for (const t of stream.getTracks()) t.stop();
      return;
    }
    track.enabled = !this.#wanted.muted;
    track.onended = () => void this.#unplugged(stream);
    await this.#link?.use(track);
    for (const old of this.#stream?.getTracks() ?? []) old.stop();
    this.#stream = stream;
    if (this.#looking) this.#listen(stream);
    void this.#listed();
  }

  async #unplugged(stream: MediaStream): Promise<void> {
    if (stream !== this.#stream) return;
    this.#stream = null;
    this.chosen = { ...this.chosen, microphone: DEFAULT };
    await this.#microphone();
  }

  #listen(stream: MediaStream): void {
    this.#meter ??= new Meter();
    this.#meter.listen(stream);
  }

  #play(stream: MediaStream): void {
    this.#element ??= player('call');
    this.#element.srcObject = stream;
    void playOn(this.#element, this.chosen.speaker);
    void this.#element.play().catch(() => undefined);
  }

  #lost(): void {
    this.#link?.close();
    this.#link = null;
    this.status = 'lost';
    this.#later(AGAIN_MS);
  }

  /** Makes the connection again where it is still wanted and not there by then. */
  #later(ms: number): void {
    if (this.#again !== undefined) return;
    this.#again = setTimeout(() => {
      this.#again = undefined;
      const { here, open, heard } = this.#wanted;
      const can = this.status === 'lost' || this.status === 'ok' || this.status === 'connecting';
      if (here && open && can && (!this.#link || !heard)) void this.#connect();
    }, ms);
  }

  #listed = async (): Promise<void> => {
    const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    this.microphones = list(devices, 'audioinput');
    this.speakers = list(devices, 'audiooutput');
  };
}

export const audio = new AudioStore();
