import type { OutputStream } from "../context.ts";

/** Shown at most so often, and only when reading takes that long. */
const intervalMs = 200;
const barCharacters = 30;

/** A bar on a terminal that says how far reading has come; silent on anything else. */
export class Progress {
  readonly #stream: OutputStream;
  readonly #totalBytes: number;
  readonly #now: () => number;
  #pass = 0;
  #readBytes = 0;
  #shownMs: number;
  #isShown = false;

  /** `now`: milliseconds of a clock that does not go back. */
  constructor(stream: OutputStream, totalBytes: number, now: () => number) {
    this.#stream = stream;
    this.#totalBytes = totalBytes;
    this.#now = now;
    this.#shownMs = now();
  }

  /** The capture is read once more from its beginning. */
  begin(): void {
    this.#pass++;
    this.#readBytes = 0;
  }

  /** So many bytes of the file more were read. */
  add(bytes: number): void {
    this.#readBytes += bytes;
    const nowMs = this.#now();
    if (this.#stream.isTTY !== true || nowMs - this.#shownMs < intervalMs) return;
    this.#shownMs = nowMs;
    this.#isShown = true;
    const share = this.#totalBytes === 0 ? 1 : Math.min(1, this.#readBytes / this.#totalBytes);
    const filled = Math.round(share * barCharacters);
    const bar = `${"#".repeat(filled)}${".".repeat(barCharacters - filled)}`;
    this.#stream.write(`\r[${bar}] ${Math.floor(100 * share)} % of pass ${this.#pass}`);
  }

  /** Takes the bar away. */
  end(): void {
    if (this.#isShown) this.#stream.write("\r\u001B[K");
    this.#isShown = false;
  }
}
