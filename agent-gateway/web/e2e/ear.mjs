// What the walks with sound have in common: a microphone that says a tone as it is, an ear for tones, what the bench does.
import { context } from './chromium.mjs';

/** Of what is heard, so much is the tone. */
const LEAST_SHARE = 0.6;

// A pure tone is just what noise suppression takes away.
await context.addInitScript(() => {
  const open = MediaDevices.prototype.getUserMedia;
  MediaDevices.prototype.getUserMedia = function (wishes) {
    return open.call(this, { audio: { ...wishes.audio, echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
  };
});

/** How long until a tone of `hz` is heard in this page; null where it is not within `ms`. */
export async function hearsTone(tab, hz, ms) {
  const began = Date.now();
  const heard = await tab.evaluate(async ([hz, least, ms]) => {
    const until = performance.now() + ms;
    while (performance.now() < until) {
      const stream = document.querySelector('audio[data-audio="call"]')?.srcObject;
      if (!stream) {
        await new Promise((done) => setTimeout(done, 20));
        continue;
      }
      if (globalThis.earOf !== stream) {
        globalThis.ear?.close();
        globalThis.ear = new AudioContext({ sampleRate: 48_000 });
        globalThis.earOf = stream;
        globalThis.analyser = globalThis.ear.createAnalyser();
        globalThis.analyser.fftSize = 4096;
        globalThis.ear.createMediaStreamSource(stream).connect(globalThis.analyser);
        await globalThis.ear.resume();
      }
      const samples = new Float32Array(4096);
      globalThis.analyser.getFloatTimeDomainData(samples);
      let [re, im, all] = [0, 0, 0];
      samples.forEach((x, n) => {
        re += x * Math.cos((2 * Math.PI * hz * n) / 48_000);
        im += x * Math.sin((2 * Math.PI * hz * n) / 48_000);
        all += x * x;
      });
      if (all > 0.01 && (2 * (re * re + im * im)) / samples.length / all > least) return true;
      await new Promise((done) => setTimeout(done, 20));
    }
    return false;
  }, [hz, LEAST_SHARE, ms]).catch(() => false);
  return heard ? Date.now() - began : null;
}

/** Asks whoever runs the walk for `what`, and waits until it is done. */
export const bench = (what) =>
  new Promise((done) => {
    process.stdin.once('data', done);
    console.log(what);
  });
