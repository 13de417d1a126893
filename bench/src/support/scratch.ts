import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A directory of its own for a benchmark: gone when the scope ends, and also when the program is told to end (`endOnSignals`). */
export class ScratchDirectory implements Disposable {
  readonly path: string;
  // Servers that were just killed may still be writing there.
  readonly #remove = (): void =>
    rmSync(this.path, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });

  constructor(name: string) {
    this.path = mkdtempSync(join(tmpdir(), `${name}-`));
    process.on("exit", this.#remove);
  }

  [Symbol.dispose](): void {
    process.off("exit", this.#remove);
    this.#remove();
  }
}
