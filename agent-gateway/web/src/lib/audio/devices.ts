/** Which microphone, speaker and ringer the agent chose on this computer. */

export type Role = 'microphone' | 'speaker' | 'ringer';
export type Chosen = Record<Role, string>;
/** What a microphone can not be had for; the words are in the locale files under `audio.`. */
export type Problem = 'denied' | 'no_device' | 'in_use' | 'insecure' | 'unsupported' | 'failed';

const STORED = 'zongji.audio';
/** Whatever the system has. */
export const DEFAULT = '';

export function chosen(): Chosen {
  const none: Chosen = { microphone: DEFAULT, speaker: DEFAULT, ringer: DEFAULT };
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(STORED) ?? '{}');
    if (typeof kept !== 'object' || kept === null) return none;
    for (const role of ['microphone', 'speaker', 'ringer'] as const) {
      const id = (kept as Record<string, unknown>)[role];
      if (typeof id === 'string') none[role] = id;
    }
  } catch {
    // What can not be read was never chosen.
  }
  return none;
}

export function keep(chosen: Chosen): void {
  try {
    localStorage.setItem(STORED, JSON.stringify(chosen));
  } catch {
    // A browser that keeps nothing is asked again next time.
  }
}

/** Browsers give microphones to pages of HTTPS and of this very computer only. */
export function unavailable(): Problem | null {
  if (!window.isSecureContext) return 'insecure';
  if (!('mediaDevices' in navigator) || !('RTCPeerConnection' in window)) return 'unsupported';
  return null;
}

export function problemOf(error: unknown): Problem {
  switch (error instanceof DOMException ? error.name : '') {
    case 'NotAllowedError':
    case 'SecurityError':
      return 'denied';
    case 'NotFoundError':
    case 'OverconstrainedError':
      return 'no_device';
    case 'NotReadableError':
    case 'AbortError':
      return 'in_use';
    default:
      return 'failed';
  }
}

/** The microphone chosen, or any where that one is gone. */
export async function openMicrophone(id: string): Promise<MediaStream> {
  const wishes = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
  if (id === DEFAULT) return navigator.mediaDevices.getUserMedia({ audio: wishes });
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: { ...wishes, deviceId: { exact: id } } });
  } catch (error) {
    if (problemOf(error) !== 'no_device') throw error;
    return navigator.mediaDevices.getUserMedia({ audio: wishes });
  }
}

export interface Device {
  id: string;
  label: string;
}

/** The system's own default is offered by our own word for it. */
export function list(devices: readonly MediaDeviceInfo[], kind: MediaDeviceKind): Device[] {
  return devices
    .filter((d) => d.kind === kind && d.deviceId !== '' && d.deviceId !== 'default' && d.deviceId !== 'communications')
    .map((d) => ({ id: d.deviceId, label: d.label }));
}
