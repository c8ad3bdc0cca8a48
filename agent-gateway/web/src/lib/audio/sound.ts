/** What is heard in the page: the call, the ringing, and how loud the microphone is. */

/** The ringing of this country's telephones: 450 Hz, one second in five (GB/T 3380). */
const RING_HZ = 450;
const RING_ON_S = 1;
const RING_EVERY_S = 5;
const RING_GAIN = 0.25;

/** An element that plays a stream on a chosen device. */
export function player(name: string): HTMLAudioElement {
  const element = document.createElement('audio');
  element.autoplay = true;
  element.dataset.audio = name;
  element.hidden = true;
  document.body.append(element);
  return element;
}

/** A device that is gone leaves the default. */
export async function playOn(element: HTMLAudioElement, device: string): Promise<void> {
  try {
    await element.setSinkId(device);
  } catch {
    await element.setSinkId('').catch(() => undefined);
  }
}

export class Ringer {
  #context: AudioContext | undefined;
  #element: HTMLAudioElement | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  start(device: string): void {
    if (this.#timer) return;
    this.ring(device);
    this.#timer = setInterval(() => this.ring(device), RING_EVERY_S * 1000);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    void this.#context?.suspend();
  }

  /** Rings once. */
  ring(device: string): void {
    this.#context ??= new AudioContext();
    const context = this.#context;
    if (!this.#element) {
      this.#element = player('ringer');
      this.#out = context.createMediaStreamDestination();
      this.#element.srcObject = this.#out.stream;
    }
    void playOn(this.#element, device);
    void context.resume();
    void this.#element.play().catch(() => undefined);
    const tone = context.createOscillator();
    const gain = context.createGain();
    tone.frequency.value = RING_HZ;
    gain.gain.value = RING_GAIN;
    tone.connect(gain);
    if (this.#out) gain.connect(this.#out);
    tone.start();
    tone.stop(context.currentTime + RING_ON_S);
  }
  #out: MediaStreamAudioDestinationNode | undefined;
}

/** How loud a stream is, 0 to 1, in steps of loudness as people hear them (60 dB). */
export class Meter {
  #context = new AudioContext();
  #analyser = this.#context.createAnalyser();
  #source: MediaStreamAudioSourceNode | undefined;
  #samples = new Float32Array(512);

  listen(stream: MediaStream): void {
    this.#source?.disconnect();
    this.#source = this.#context.createMediaStreamSource(stream);
    this.#analyser.fftSize = this.#samples.length;
    this.#source.connect(this.#analyser);
    void this.#context.resume();
  }

  level(): number {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    const power = this.#samples.reduce((sum, x) => sum + x * x, 0) / this.#samples.length;
    return Math.min(1, Math.max(0, 1 + (10 * Math.log10(power + 1e-9)) / 60));
  }

  close(): void {
    void this.#context.close();
  }
}
