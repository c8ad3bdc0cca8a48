// A page with a SIP phone (JsSIP) beside no desk: it registers by websocket, calls a queue, is rung as an agent's phone, holds,
// and is in its call again after the server was killed. What others hear is measured by whoever runs this; what it hears, here.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { build } from 'vite';
import { NO_UDP, check, page, sleep, walk } from './chromium.mjs';
import { bench, hearsTone } from './ear.mjs';

const [SOCKET, SECRET] = [process.env.ZONGJI_SOCKET, process.env.ZONGJI_SECRET];
/** Which queue the page calls, and what it hears then; and what it hears of who calls it. */
const [QUEUE, COLLEAGUE_HZ, CALLER_HZ] = ['general', 700, 440];

const library = createRequire(import.meta.url).resolve('jssip');
const built = await build({
  configFile: false,
  logLevel: 'error',
  build: { write: false, minify: false, lib: { entry: library, formats: ['iife'], name: 'JsSIP' } },
});
const code = built[0].output[0].code;

/** By a real socket of this machine: a browser lets no page from elsewhere connect to a local address unasked. */
const pages = createServer((_, answer) => {
  answer.setHeader('Content-Type', 'text/html');
  answer.end('<!doctype html><title>phone</title><link rel="icon" href="data:,"><audio data-audio="call" autoplay></audio>');
});
await new Promise((done) => pages.listen(0, '127.0.0.1', done));

async function open(tab) {
  await tab.goto(`http://127.0.0.1:${pages.address().port}/`);
  await tab.addScriptTag({ content: code });
  await tab.evaluate(([socket, secret]) => {
    const media = { mediaConstraints: { audio: true, video: false } };
    const phone = { states: [], ended: 0 };
    globalThis.phone = phone;
    phone.ua = new JsSIP.UA({
      sockets: [new JsSIP.WebSocketInterface(socket)],
      uri: 'sip:1001@acme',
      password: secret,
      connection_recovery_min_interval: 1,
      connection_recovery_max_interval: 2,
    });
    const follow = (connection) =>
      connection.addEventListener('track', (event) => {
        document.querySelector('audio').srcObject = new MediaStream([event.track]);
      });
    for (const name of ['registered', 'unregistered', 'registrationFailed', 'disconnected']) phone.ua.on(name, () => phone.states.push(name));
    phone.ua.on('newRTCSession', ({ originator, session }) => {
      phone.session = session;
      if (session.connection) follow(session.connection);
      else session.on('peerconnection', ({ peerconnection }) => follow(peerconnection));
      for (const name of ['ended', 'failed']) {
        session.on(name, ({ cause }) => {
          phone.states.push(`${name}: ${cause}`);
          phone.ended += 1;
        });
      }
      if (originator === 'remote') session.answer(media);
    });
    phone.call = (number) => phone.ua.call(`sip:${number}@acme`, media);
    phone.ua.start();
  }, [SOCKET, SECRET]);
}
const until = (what, ms) => page.waitForFunction(what, undefined, { timeout: ms }).then(() => true, () => false);
const said = () => page.evaluate(() => phone.states.join(', '));
const registered = () => until(() => phone.ua.isRegistered(), 10_000);

await walk('phone', async () => {
  await open(page);
  if (!check(await registered(), 'the page registers', await said())) return;

  await page.evaluate((queue) => phone.call(queue), QUEUE);
  let ms = await hearsTone(page, COLLEAGUE_HZ, 12_000);
  check(ms !== null, 'it calls a queue and hears who answers', `${ms} ms, ${await said()}`);
  await sleep(3_000);
  const way = await page.evaluate(async () => {
    const reports = [...(await phone.session.connection.getStats()).values()];
    const pair = reports.find((report) => report.type === 'candidate-pair' && report.nominated && report.state === 'succeeded');
    return reports.find((report) => report.id === pair?.remoteCandidateId)?.protocol;
  });
  check(way === (NO_UDP ? 'tcp' : 'udp'), 'by the way that there is', way);
  await page.evaluate(() => phone.session.terminate());
  check(await until(() => phone.ended === 1, 5_000), 'it hangs up');

  if (NO_UDP) return;

  await bench('ring');
  check(await until(() => phone.session.isEstablished(), 12_000), 'it is rung and answers', await said());
  ms = await hearsTone(page, CALLER_HZ, 5_000);
  check(ms !== null, 'it hears who called', `${ms} ms, ${await said()}`);
  await sleep(3_000);

  await page.evaluate(() => phone.session.hold());
  check(await until(() => phone.session.isOnHold().local, 3_000), 'it holds');
  await sleep(1_500);
  await page.evaluate(() => phone.session.unhold());
  await sleep(500);
  ms = await hearsTone(page, CALLER_HZ, 5_000);
  check(ms !== null, 'it retrieves, and hears again', `${ms} ms`);
  await sleep(2_000);

  await bench('kill');
  await sleep(300);
  await bench('start');
  const began = Date.now();
  check(await until(() => phone.states.includes('disconnected') && phone.ua.isRegistered(), 15_000), 'the server was killed: the page registers again', `${Date.now() - began} ms, ${await said()}`);
  // What was heard before is not counted: the tone has to come anew.
  await sleep(1_000);
  ms = await hearsTone(page, CALLER_HZ, 15_000);
  check(ms !== null && await page.evaluate(() => phone.session.isEstablished()), 'and is in its call again', `${Date.now() - began} ms, ${await said()}`);
  await sleep(3_000);
  await page.evaluate(() => phone.session.terminate());
  check(await until(() => phone.ended === 2, 5_000), 'it hangs up', await said());
  await page.evaluate(() => phone.ua.stop());
});
