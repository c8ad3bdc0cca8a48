/**
 * One RTCPeerConnection to the server, for one audio stream. The page offers, the server (ICE-lite) answers with all its
 * addresses: nothing is gathered or trickled, so that a page loaded anew is heard again within a fraction of a second.
 */

export type LinkState = 'connecting' | 'connected' | 'failed';

/** In this order: what trunks speak comes first, so that nothing is transcoded. */
const CODECS = ['audio/pcma', 'audio/pcmu'];
/** A connection that is not made within this is given up. */
const CONNECT_MAX_MS = 8_000;
/** Some seconds without the network are bridged by the browser itself. */
const DISCONNECTED_MAX_MS = 4_000;

export class AudioLink {
  #peer: RTCPeerConnection;
  #sender: RTCRtpSender;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #over = false;

  constructor(
    private readonly on: { state(state: LinkState): void; stream(stream: MediaStream): void },
    track: MediaStreamTrack | null,
  ) {
    this.#peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const transceiver = this.#peer.addTransceiver(track ?? 'audio', { direction: 'sendrecv' });
    this.#sender = transceiver.sender;
    const known = RTCRtpReceiver.getCapabilities('audio')?.codecs ?? [];
    const codecs = CODECS.flatMap((type) => known.filter((c) => c.mimeType.toLowerCase() === type));
    if (codecs.length > 0) transceiver.setCodecPreferences(codecs);
    this.#peer.ontrack = (event) => this.on.stream(event.streams[0] ?? new MediaStream([event.track]));
    this.#peer.onconnectionstatechange = () => this.#changed();
    this.#timer = setTimeout(() => this.#fail(), CONNECT_MAX_MS);
  }

  async offer(): Promise<string> {
    const offer = await this.#peer.createOffer();
    await this.#peer.setLocalDescription(offer);
    return offer.sdp ?? '';
  }

  async answer(sdp: string): Promise<void> {
    if (!this.#over) await this.#peer.setRemoteDescription({ type: 'answer', sdp });
  }

  /** Another microphone, without a new offer: what is heard has no gap. */
  async use(track: MediaStreamTrack): Promise<void> {
    if (!this.#over) await this.#sender.replaceTrack(track);
  }

  close(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#peer.close();
  }

  #changed(): void {
    if (this.#over) return;
    clearTimeout(this.#timer);
    switch (this.#peer.connectionState) {
      case 'connected':
        this.on.state('connected');
        break;
      case 'disconnected':
        this.#timer = setTimeout(() => this.#fail(), DISCONNECTED_MAX_MS);
        break;
      case 'failed':
      case 'closed':
        this.#fail();
        break;
      case 'new':
      case 'connecting':
        this.#timer = setTimeout(() => this.#fail(), CONNECT_MAX_MS);
        break;
    }
  }

  #fail(): void {
    if (this.#over) return;
    this.close();
    this.on.state('failed');
  }
}
