import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";

import type { OutputStream } from "../context.ts";

/** Writes to stdout at the speed of whoever reads it. */
export class Output {
  readonly #stream: OutputStream;

  constructor(stream: OutputStream) {
    this.#stream = stream;
  }

  /** `undefined` when there is room for more; otherwise resolves when there is. */
  write(data: string | Uint8Array): Promise<unknown> | undefined {
    return this.#stream.write(data) ? undefined : once(this.#stream, "drain");
  }

  /** Resolves when everything is written, or after `patienceMs` when nobody reads. */
  async flush(patienceMs = Number.POSITIVE_INFINITY): Promise<void> {
    if (this.#stream.writableLength === 0) return;
    const written = new Promise<void>((resolve) => this.#stream.write("", () => resolve()));
    if (patienceMs === Number.POSITIVE_INFINITY) await written;
    else await Promise.race([written, delay(patienceMs, undefined, { ref: false })]);
  }
}
