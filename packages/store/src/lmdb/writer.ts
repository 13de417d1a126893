import { Worker } from "node:worker_threads";

import { StoreFullError, StoreWriteError } from "../errors.ts";
import { ThreadGuard } from "./thread-guard.ts";

/** What the thread is started with. */
export interface WriterJob {
  readonly file: string;
  /** Of a `ThreadGuard`. */
  readonly flags: Int32Array;
}

export type WriterRequest =
  | { readonly kind: "write"; readonly chunks: Uint8Array<ArrayBuffer>[] }
  | { readonly kind: "close" };

export type WriterResponse =
  | { readonly kind: "ready" }
  | { readonly kind: "written" }
  | {
      readonly kind: "failed";
      readonly full: boolean;
      readonly reason: string;
      readonly chunks: Uint8Array<ArrayBuffer>[];
    };

export interface WriteResult {
  readonly error: StoreFullError | StoreWriteError | undefined;
  /** After an error: the rows, to be tried again. `undefined` when they are lost, because the thread died. */
  readonly chunks: Uint8Array<ArrayBuffer>[] | undefined;
}

/** The sources run as they are; a bundle brings the thread's code as a file of the same name beside itself. */
const threadUrl = new URL(
  `./writer-thread${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`,
  import.meta.url,
);

/** The event loop's end of the writer thread: one write at a time. */
export class LmdbWriter {
  readonly #worker: Worker;
  readonly #file: string;
  readonly #exited: Promise<void>;
  #done: ((result: WriteResult) => void) | undefined;
  /** What ended the thread. */
  #death: { readonly cause: unknown } | undefined;

  private constructor(file: string, worker: Worker) {
    this.#file = file;
    this.#worker = worker;
    this.#exited = new Promise((resolve) => {
      worker.once("exit", () => {
        this.#die(new Error("the thread ended"));
        resolve();
      });
    });
    worker.on("error", (thrown: unknown) => this.#die(thrown));
    worker.on("message", (response: WriterResponse) => this.#answered(response));
    // Only a write under way keeps the process alive.
    worker.unref();
  }

  /** Resolves when the thread has the file open. */
  static async start(file: string): Promise<LmdbWriter> {
    const guard = new ThreadGuard();
    const job: WriterJob = { file, flags: guard.flags };
    const worker = new Worker(threadUrl, { workerData: job });
    worker.once("exit", () => guard.release());
    await new Promise<void>((resolve, reject) => {
      worker.once("message", () => resolve());
      worker.once("error", reject);
    });
    return new LmdbWriter(file, worker);
  }

  /** Takes the chunks over and writes them as one transaction. `done` is called from a later event. */
  write(chunks: Uint8Array<ArrayBuffer>[], done: (result: WriteResult) => void): void {
    if (this.#done !== undefined) throw new Error("a write is under way already");
    const death = this.#death;
    if (death !== undefined) {
      setImmediate(() => done({ error: this.#deathError(death.cause), chunks }));
      return;
    }
    this.#done = done;
    this.#worker.ref();
    const request: WriterRequest = { kind: "write", chunks };
    this.#worker.postMessage(
      request,
      chunks.map((chunk) => chunk.buffer),
    );
  }

  /** One write on its own. */
  writeNow(chunk: Uint8Array<ArrayBuffer>): Promise<WriteResult> {
    return new Promise((resolve) => this.write([chunk], resolve));
  }

  /** Resolves when the thread is gone. No write may be under way. */
  async close(): Promise<void> {
    if (this.#death === undefined) {
      this.#worker.ref();
      const request: WriterRequest = { kind: "close" };
      this.#worker.postMessage(request, []);
    }
    await this.#exited;
  }

  #answered(response: WriterResponse): void {
    const done = this.#done;
    if (response.kind === "ready" || done === undefined) return;
    this.#done = undefined;
    this.#worker.unref();
    if (response.kind === "written") {
      done({ error: undefined, chunks: undefined });
      return;
    }
    const { full, reason, chunks } = response;
    const text = `The session store ${this.#file} could not be written: ${reason}.`;
    const error = full
      ? new StoreFullError(`${text} Make room on its disk; what is waiting is then written.`)
      : new StoreWriteError(`${text} What is waiting is tried again with the next write.`);
    done({ error, chunks });
  }

  #die(cause: unknown): void {
    this.#death ??= { cause };
    const done = this.#done;
    this.#done = undefined;
    done?.({ error: this.#deathError(cause), chunks: undefined });
  }

  #deathError(cause: unknown): StoreWriteError {
    return new StoreWriteError(
      `The thread that writes the session store ${this.#file} is gone. Start again.`,
      {
        cause,
      },
    );
  }
}
