import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { freePort } from "./postern.ts";

/** Debian puts it outside the path of ordinary users. */
const candidates = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin"];
const program = candidates.map((directory) => join(directory, "mosquitto")).find((path) => existsSync(path));

/** For `skip`: false when Mosquitto is there, otherwise the reason. */
export const mosquittoMissing: string | false =
  program === undefined ? "mosquitto is not installed (apt-get install mosquitto)" : false;

async function accepts(port: number): Promise<boolean> {
  const socket = connect({ host: "127.0.0.1", port });
  const result = await new Promise<boolean>((resolve) => {
    socket.once("connect", () => resolve(true));
    socket.once("error", () => resolve(false));
  });
  socket.destroy();
  return result;
}

/** A Mosquitto with a directory of its own; gone with all its files when the scope ends. */
export class Mosquitto implements AsyncDisposable {
  readonly directory: string;
  /** Of the first listener. */
  readonly port: number;
  #child: ChildProcess | undefined;

  private constructor(directory: string, port: number) {
    this.directory = directory;
    this.port = port;
  }

  /** @param config lines of its configuration, given its directory and the port that its first listener must have. */
  static async start(
    config: (directory: string, port: number) => readonly string[] = (_, port) => [
      `listener ${port} 127.0.0.1`,
      "allow_anonymous true",
    ],
  ): Promise<Mosquitto> {
    const directory = mkdtempSync(join(tmpdir(), "postern-mosquitto-"));
    const port = await freePort();
    const lines = [...(process.getuid?.() === 0 ? ["user root"] : []), ...config(directory, port)];
    writeFileSync(join(directory, "mosquitto.conf"), `${lines.join("\n")}\n`);
    const started = new Mosquitto(directory, port);
    await started.startAgain();
    return started;
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  async startAgain(): Promise<void> {
    if (program === undefined) throw new Error("mosquitto is not installed");
    const child = spawn(program, ["-c", join(this.directory, "mosquitto.conf")], { stdio: "ignore" });
    this.#child = child;
    while (!(await accepts(this.port))) {
      if (child.exitCode !== null) throw new Error("mosquitto ended at once");
      await delay(10);
    }
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
