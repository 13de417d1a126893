import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

const startMs = 600_000;
const stopMs = 60_000;

/** A server under test: gone, with all its processes, when the scope ends. */
export class ServerProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #what: string;
  #output = "";

  constructor(
    command: string,
    args: readonly string[],
    options: { readonly env?: Readonly<Record<string, string>>; readonly cwd?: string } = {},
  ) {
    this.#what = command;
    const { env = {}, cwd } = options;
    this.#child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
      ...(cwd === undefined ? {} : { cwd }),
    });
    this.#child.on("error", (error) => (this.#output += error.message));
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.setEncoding("utf8").on("data", (text: string) => {
        // What a server says while it is measured is read and forgotten.
        this.#output = (this.#output + text).slice(-65_536);
      });
    // Before the directory that it writes to is removed.
    process.prependListener("exit", this.#kill);
  }

  /** Its process and those that it started, which are there now. */
  get pids(): number[] {
    const { pid } = this.#child;
    return pid === undefined ? [] : withChildren(pid);
  }

  get #running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  readonly #kill = (): void => {
    // What it started, too: RabbitMQ is a script around the server.
    if (this.#running) for (const pid of this.pids) kill(pid);
  };

  /** Waits until it writes this. @throws when it ends before, or takes too long; then it is gone. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    return this.#until(() => pattern.exec(this.#output) ?? undefined);
  }

  /** Waits until it takes connections. @throws when it ends before, or takes too long. */
  async listensOn(port: number): Promise<void> {
    await this.#until(async () => ((await accepts(port)) ? true : undefined));
  }

  async #until<T>(look: () => T | undefined | Promise<T | undefined>): Promise<T> {
    const deadlineMs = performance.now() + startMs;
    for (;;) {
      const found = await look();
      if (found !== undefined) return found;
      if (this.#running && this.#child.pid !== undefined && performance.now() <= deadlineMs) {
        await delay(20);
        continue;
      }
      await this[Symbol.asyncDispose]();
      throw new Error(`${this.#what} did not start:\n${this.#output}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off("exit", this.#kill);
    if (!this.#running || this.#child.pid === undefined) return;
    const ended = once(this.#child, "exit");
    const all = this.pids;
    this.#child.kill("SIGTERM");
    const inTime = await Promise.race([ended.then(() => true), delay(stopMs, false, { ref: false })]);
    if (inTime) return;
    for (const pid of all) kill(pid);
    await ended;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended meanwhile.
  }
}

function withChildren(pid: number): number[] {
  const children: number[] = [];
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`))
      for (const child of readFileSync(`/proc/${pid}/task/${thread}/children`, "latin1").split(" "))
        if (child !== "") children.push(...withChildren(Number(child)));
  } catch {
    // It has ended.
  }
  return [pid, ...children];
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect({ host: "127.0.0.1", port });
  const result = await new Promise<boolean>((resolve) => {
    socket.once("connect", () => resolve(true));
    socket.once("error", () => resolve(false));
  });
  socket.destroy();
  return result;
}

/** A port that was free a moment ago, for servers that cannot say which one they took. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (typeof address !== "object" || address === null) throw new Error("no port");
  return address.port;
}
