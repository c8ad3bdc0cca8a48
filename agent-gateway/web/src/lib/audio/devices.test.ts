import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { chosen, keep, list, openMicrophone, problemOf, unavailable } from './devices';

let kept: Map<string, string>;
beforeEach(() => {
  kept = new Map();
  vi.stubGlobal('localStorage', { getItem: (k: string) => kept.get(k) ?? null, setItem: (k: string, v: string) => void kept.set(k, v) });
});
afterEach(() => vi.unstubAllGlobals());

test('what was chosen on this computer is chosen again, and nothing else is believed', () => {
  expect(chosen()).toEqual({ microphone: '', speaker: '', ringer: '' });
  keep({ microphone: 'm', speaker: 's', ringer: 'r' });
  expect(chosen()).toEqual({ microphone: 'm', speaker: 's', ringer: 'r' });
  for (const broken of ['{', '[]', 'null', '{"microphone":1}', '7']) {
    kept.set('zongji.audio', broken);
    expect(chosen(), broken).toEqual({ microphone: '', speaker: '', ringer: '' });
  }
  vi.stubGlobal('localStorage', { getItem: () => { throw new Error('no'); }, setItem: () => { throw new Error('no'); } });
  keep(chosen());
});

test('why a microphone can not be had is told apart', () => {
  const named = (name: string): unknown => new DOMException('x', name);
  expect(problemOf(named('NotAllowedError'))).toBe('denied');
  expect(problemOf(named('NotFoundError'))).toBe('no_device');
  expect(problemOf(named('OverconstrainedError'))).toBe('no_device');
  expect(problemOf(named('NotReadableError'))).toBe('in_use');
  expect(problemOf(new Error('NotAllowedError'))).toBe('failed');
});

test('a page without HTTPS is told so before it asks for anything', () => {
  vi.stubGlobal('window', { isSecureContext: false });
  expect(unavailable()).toBe('insecure');
  vi.stubGlobal('window', { isSecureContext: true });
  vi.stubGlobal('navigator', {});
  expect(unavailable()).toBe('unsupported');
  vi.stubGlobal('window', { isSecureContext: true, RTCPeerConnection: class {} });
  vi.stubGlobal('navigator', { mediaDevices: {} });
  expect(unavailable()).toBeNull();
});

test('a microphone that is gone leaves the system its own, one that is refused does not', async () => {
  const asked: unknown[] = [];
  let error = 'NotFoundError';
  const getUserMedia = (wishes: { audio: { deviceId?: unknown } }): Promise<string> => {
    asked.push(wishes.audio.deviceId);
    return wishes.audio.deviceId ? Promise.reject(new DOMException('x', error)) : Promise.resolve('stream');
  };
  vi.stubGlobal('navigator', { mediaDevices: { getUserMedia } });
  expect(await openMicrophone('gone')).toBe('stream');
  expect(asked).toEqual([{ exact: 'gone' }, undefined]);
  error = 'NotAllowedError';
  await expect(openMicrophone('gone')).rejects.toThrow();
});

test('devices are listed by kind, without the aliases of the default', () => {
  const device = (kind: MediaDeviceKind, deviceId: string): MediaDeviceInfo => ({ kind, deviceId, label: deviceId, groupId: '', toJSON: () => '' });
  const all = [device('audioinput', 'default'), device('audioinput', 'a'), device('audiooutput', 'b'), device('audioinput', '')];
  expect(list(all, 'audioinput')).toEqual([{ id: 'a', label: 'a' }]);
  expect(list(all, 'audiooutput')).toEqual([{ id: 'b', label: 'b' }]);
});
