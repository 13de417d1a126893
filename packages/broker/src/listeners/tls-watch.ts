import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";

/** What TLS may carry without a byte for us: some 2,400 KeyUpdates, each of which costs us a key derivation and an answer. */
const emptyBytesMax = 65_536;
/** The most that TLS adds to a record of a single byte. */
const overheadBytesPerByte = 40;
const lookMs = 100;
/**
 * Connections looked at each time: at least so many, so that up to these each is seen every 100 ms, and with more of them the
 * share that lets each be seen every five seconds. A look costs a microsecond.
 */
const looksMin = 100;
const looksShare = 1 / 50;

interface Watched {
  readonly raw: Socket;
  readonly tls: TLSSocket;
  rawBytes: number;
  tlsBytes: number;
  emptyBytes: number;
}

/**
 * Cuts connections whose TLS records carry nothing: floods of KeyUpdates, of refused renegotiations or of warnings, which a TLS
 * library answers one by one without telling us.
 */
export class TlsWatch {
  readonly #watched = new Set<Watched>();
  readonly #onFlood: (socket: TLSSocket) => void;
  readonly #timer: NodeJS.Timeout;
  #round: Iterator<Watched> = this.#watched.values();

  constructor(onFlood: (socket: TLSSocket) => void) {
    this.#onFlood = onFlood;
    this.#timer = setInterval(() => this.look(), lookMs).unref();
  }

  /** From the end of its handshake to the end of the connection. */
  add(raw: Socket, tls: TLSSocket): void {
    const watched = { raw, tls, rawBytes: raw.bytesRead, tlsBytes: tls.bytesRead, emptyBytes: 0 };
    this.#watched.add(watched);
    tls.once("close", () => this.#watched.delete(watched));
  }

  look(): void {
    const { size } = this.#watched;
    const most = Math.max(looksMin, Math.ceil(size * looksShare));
    for (let looks = Math.min(size, most); looks > 0; looks -= 1) {
      let next = this.#round.next();
      if (next.done === true) {
        this.#round = this.#watched.values();
        next = this.#round.next();
      }
      if (next.done === true) return;
      if (isFlooding(next.value)) {
        this.#onFlood(next.value.tls);
        next.value.raw.destroy();
      }
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

function isFlooding(watched: Watched): boolean {
  const { raw, tls } = watched;
  const rawBytes = raw.bytesRead;
  const tlsBytes = tls.bytesRead;
  const empty = rawBytes - watched.rawBytes - overheadBytesPerByte * (tlsBytes - watched.tlsBytes);
  watched.emptyBytes = Math.max(0, watched.emptyBytes + empty);
  watched.rawBytes = rawBytes;
  watched.tlsBytes = tlsBytes;
  return watched.emptyBytes > emptyBytesMax;
}
