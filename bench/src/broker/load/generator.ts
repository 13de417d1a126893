import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { outcome, type Figures, type Job } from "./job.ts";

const program = fileURLToPath(new URL("../load-program.ts", import.meta.url));

/** The load generator's process; gone when the scope ends. */
export class Generator implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #kill = (): void => {
    this.#child.kill("SIGKILL");
  };

  constructor() {
    this.#child = spawn(process.execPath, [program], { stdio: ["pipe", "pipe", "inherit"] });
    const { stdout } = this.#child;
    if (stdout === null) throw new Error("the load generator has no output");
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
    process.on("exit", this.#kill);
  }

  /** @throws what went wrong while the load ran. */
  async run(job: Job): Promise<Figures> {
    this.#child.stdin?.write(`${JSON.stringify(job)}\n`);
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error("the load generator ended");
    const result = outcome.parse(JSON.parse(value));
    if ("error" in result) throw new Error(result.error);
    return result.figures;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off("exit", this.#kill);
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.stdin?.end();
    this.#child.kill("SIGTERM");
    await ended;
  }
}
