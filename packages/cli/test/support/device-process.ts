import { fork, type ChildProcess } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { fileURLToPath } from "node:url";

import { replySchema, type Call, type Reply } from "./device-protocol.ts";
import { compileCache } from "./postern.ts";

/** A call without the number that its answer has. */
type Request = Call extends infer Each ? (Each extends Call ? Omit<Each, "id"> : never) : never;

type Connect = Extract<Call, { kind: "connect" }>;

export interface DeviceMessage {
  readonly text: string;
  readonly sender: string | undefined;
}

export interface DeviceProcessEvents {
  refused: [{ readonly code: string }];
  keys: [serial: number];
  warning: [text: string];
}

/** What a call failed with, in the other process. */
class DeviceFailure extends Error {
  readonly code: string;

  constructor(code: string, text: string) {
    super(text);
    this.code = code;
  }
}

/** All that run. */
const running = new Set<ChildProcess>();

function start(): ChildProcess {
  const { NODE_TEST_CONTEXT: _own, ...env } = process.env;
  const child = fork(fileURLToPath(new URL("./device-child.ts", import.meta.url)), {
    execArgv: [],
    env: { ...env, NODE_COMPILE_CACHE: compileCache },
    serialization: "advanced",
  });
  running.add(child);
  child.on("exit", () => running.delete(child));
  return child;
}

/** Processes that no device uses; a new one takes a second to start. */
const idle: ChildProcess[] = [];

/** Starts processes before they are needed. */
export function startDeviceProcesses(count: number): void {
  while (idle.length < count) idle.push(start());
}

/** At the end of a test file. */
export async function endDeviceProcesses(): Promise<void> {
  idle.length = 0;
  await Promise.all([...running].map(kill));
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
}

/** A device by `@postern/device` in a process of its own: who watches it sees only what goes over the network. */
export class DeviceProcess extends EventEmitter<DeviceProcessEvents> implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #calls = 0;
  #refusedCount = 0;
  #keysSerial = -1;

  private constructor(child: ChildProcess) {
    super();
    this.#child = child;
    child.on("message", this.#onMessage);
    child.on("exit", this.#onExit);
  }

  static async connect(bundle: Connect["bundle"], options: Connect["options"]): Promise<DeviceProcess> {
    const device = new DeviceProcess(idle.pop() ?? start());
    await device.#call({ kind: "connect", bundle, options });
    return device;
  }

  get refusedCount(): number {
    return this.#refusedCount;
  }

  /** The number of the package of keys that the device uses; -1 without one. */
  get keysSerial(): number {
    return this.#keysSerial;
  }

  /** Waits until the device uses newer keys than those of that number. */
  async keysAfter(serial: number): Promise<void> {
    while (this.#keysSerial <= serial) await once(this, "keys");
  }

  async publish(topic: string, payload: string): Promise<void> {
    await this.#call({ kind: "publish", topic, payload });
  }

  async subscribe(filter: string): Promise<void> {
    await this.#call({ kind: "subscribe", filter });
  }

  /** The next message of the subscription; with it the application is done with the one before. */
  async next(): Promise<DeviceMessage> {
    const value = await this.#call({ kind: "next" });
    if (typeof value !== "object" || value === null || !("text" in value) || typeof value.text !== "string")
      throw new Error("a device answered with something else than a message");
    const sender = "sender" in value && typeof value.sender === "string" ? value.sender : undefined;
    return { text: value.text, sender };
  }

  /** Ends the subscription. */
  async leave(): Promise<void> {
    await this.#call({ kind: "leave" });
  }

  /** Ends the process without a word, as a power cut does. */
  async crash(): Promise<void> {
    idle.push(start());
    await kill(this.#child);
  }

  /** Ends the device; its process can become another one. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    await this.#call({ kind: "close" });
    this.#child.off("message", this.#onMessage);
    this.#child.off("exit", this.#onExit);
    idle.push(this.#child);
  }

  #call(request: Request): Promise<unknown> {
    const id = ++this.#calls;
    const answer = Promise.withResolvers<unknown>();
    this.#waiting.set(id, answer);
    this.#child.send({ ...request, id });
    return answer.promise;
  }

  readonly #onExit = (): void => {
    for (const { reject } of this.#waiting.values()) reject(new Error("the device's process has ended"));
    this.#waiting.clear();
  };

  readonly #onMessage = (message: unknown): void => {
    const reply: Reply = replySchema.parse(message);
    switch (reply.kind) {
      case "done":
        this.#settle(reply.id)?.resolve(reply.value);
        break;
      case "failed":
        this.#settle(reply.id)?.reject(new DeviceFailure(reply.code, reply.text));
        break;
      case "refused":
        this.#refusedCount++;
        this.emit("refused", reply);
        break;
      case "keys":
        this.#keysSerial = reply.serial;
        this.emit("keys", reply.serial);
        break;
      case "warning":
        this.emit("warning", reply.text);
        break;
    }
  };

  #settle(id: number): PromiseWithResolvers<unknown> | undefined {
    const answer = this.#waiting.get(id);
    this.#waiting.delete(id);
    return answer;
  }
}
