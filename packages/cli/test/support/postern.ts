import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { CertificateBundle } from "@postern/core/bundle";
import { ProcessOutput } from "@postern/gate/hosts/process-output";
import { defaultPermissions } from "@postern/identity/permissions/default-file";
import { readCertificateBundle } from "@postern/identity/testing";

/** What is tested: the program as it is published where `npm test` has built it, otherwise the sources. */
export const bin =
  process.env["POSTERN_UNDER_TEST"] ?? fileURLToPath(new URL("../../bin/postern.js", import.meta.url));

/** How a process ended, and what it wrote. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StartOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Run as this user. */
  readonly uid?: number;
  /** Another runtime than that of the tests. */
  readonly runtime?: string;
  /** False to give the runtime the arguments alone. */
  readonly script?: boolean;
  /** What stands on standard input; `null` for a stream to write to (`child.stdin`); nothing unless given. */
  readonly input?: string | Buffer | null;
}

/** Halves the time to start: every process compiles the same files. */
export const compileCache = fileURLToPath(
  new URL("../../../../node_modules/.cache/compile", import.meta.url),
);

/** The environment of a process that loads a module of `support` first, with what the module reads. */
export function preloaded(module: string, env: Readonly<Record<string, string>>): Record<string, string> {
  return { ...env, NODE_OPTIONS: `--import=${fileURLToPath(new URL(module, import.meta.url))}` };
}

/** All tests can be run with servers of several threads: see CONTRIBUTING.md. */
const workersOption =
  process.env["POSTERN_TEST_WORKERS"] === undefined
    ? []
    : [`--import=${fileURLToPath(new URL("preload-workers.ts", import.meta.url))}`];

/** Overwrites memory that is used again as soon as it may be: a view that was kept too long is found out by whatever test comes upon it. */
const poisonOption = `--import=${import.meta.resolve("@postern/broker/testing/preload-poison")}`;

/** What all servers of tests load first, where their runtime reads the sources. */
function optionsOf(args: readonly string[], given: string): string {
  const poison = args[0] === "up" ? [poisonOption] : [];
  return [...workersOption, ...poison, given].join(" ").trim();
}

/** The environment of a server that is started on a host of its own, with what `PosternProcess` has servers load. */
export function serverEnvironment(given: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    NODE_COMPILE_CACHE: compileCache,
    ...given,
    NODE_OPTIONS: optionsOf(["up"], given["NODE_OPTIONS"] ?? ""),
  };
}

/** A real `postern` process; killed at the end of the scope if it still runs. */
export class PosternProcess implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  readonly #output: ProcessOutput;

  constructor(
    args: readonly string[],
    { cwd, env = {}, uid, runtime = process.execPath, script = true, input }: StartOptions = {},
  ) {
    // The tests may themselves have been started by npm: a process under test must not know.
    const own = Object.entries(process.env).filter(
      ([name]) => !name.startsWith("npm_") && name !== "NODE_TEST_CONTEXT",
    );
    const nodeOptions = env["NODE_OPTIONS"] ?? process.env["NODE_OPTIONS"] ?? "";
    this.child = spawn(runtime, [...(script ? [bin] : []), ...args], {
      stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      env: {
        ...Object.fromEntries(own),
        NODE_COMPILE_CACHE: compileCache,
        ...env,
        NODE_OPTIONS: runtime === process.execPath ? optionsOf(args, nodeOptions) : nodeOptions,
      },
      ...(cwd === undefined ? {} : { cwd }),
      ...(uid === undefined ? {} : { uid, gid: uid }),
    });
    // A process that refuses its command line does not read its input.
    this.child.stdin?.on("error", () => {});
    if (input !== undefined && input !== null) this.child.stdin?.end(input);
    this.#output = new ProcessOutput(this.child, `postern ${args[0] ?? ""}`);
    this.ended = once(this.child, "close").then(([code, signal]) => ({
      code,
      signal,
      stdout: this.stdout,
      stderr: this.stderr,
    }));
  }

  get stdout(): string {
    return this.#output.stdout;
  }

  get stderr(): string {
    return this.#output.stderr;
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  /** Waits until stdout and stderr together match, for a minute. @throws when the process ends first, or says nothing of the kind. */
  until(pattern: RegExp): Promise<RegExpExecArray> {
    return this.#output.until(pattern);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.running) this.child.kill("SIGKILL");
    await this.ended;
  }
}

/** Runs a command to its end, in a process of its own. */
export async function postern(args: readonly string[], options?: StartOptions): Promise<Ended> {
  return new PosternProcess(args, options).ended;
}

export interface CommandOptions extends Pick<StartOptions, "cwd" | "env"> {
  /** What stands on standard input; nothing unless given. */
  readonly input?: string | Buffer;
}

/**
 * Runs a command to its end in this process, with streams and an environment of its own: what `postern` does but for the start of a
 * process, which takes twenty times as long as most commands do. For commands that end by themselves.
 */
export async function command(
  args: readonly string[],
  { cwd = process.cwd(), env = {}, input = "" }: CommandOptions = {},
): Promise<Ended> {
  const [{ run }, { fakeContext }] = await Promise.all([
    import("../../src/main.ts"),
    import("../../src/testing.ts"),
  ]);
  const context = fakeContext({ cwd, env: { ...env } });
  context.stdin.end(input);
  const code = await run(args, context);
  return { code, signal: null, stdout: context.out(), stderr: context.err() };
}

/** A directory of its own for one test. */
export interface Scratch extends Disposable {
  readonly path: string;
}

export function scratch(): Scratch {
  const path = mkdtempSync(join(tmpdir(), "postern-cli-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** A running server on free ports of loopback. */
export interface TestServer extends AsyncDisposable {
  readonly process: PosternProcess;
  readonly data: string;
  /** What it printed that it listens on, in the order of the configuration. */
  readonly urls: readonly string[];
  readonly metricsUrl: string | undefined;
}

/** Everything that applications publish, for clients without a name too. */
export const openPermissions = `${defaultPermissions}
  anonymous:
    rules:
      - topics: ["#"]
        allow: [publish, subscribe, will, retain, shared, persistentSession]
`;

/**
 * Before its first start: lets clients that prove nothing use every topic, where the configuration that `args` name takes such
 * clients and the test has written no permissions of its own.
 */
export function permitAnonymous(args: readonly string[]): void {
  const [config, data] = ["--config", "--data"].map((name) => args[args.indexOf(name) + 1]);
  if (config === undefined || data === undefined || !args.includes("--data") || !args.includes("--config"))
    return;
  const file = join(data, "permissions.yaml");
  if (existsSync(file) || !/anonymous: true/.test(readFileSync(config, "utf8"))) return;
  mkdirSync(data, { recursive: true, mode: 0o700 });
  writeFileSync(file, openPermissions);
}

/** Starts `postern up` and waits until it says that it is running. */
export async function up(args: readonly string[], options?: StartOptions): Promise<TestServer> {
  permitAnonymous(args);
  const process = new PosternProcess(["up", ...args], options);
  await process.until(/is running\.[^]*authority +SHA-256 [0-9A-F:]+\n/);
  const urls = process.stdout.match(/^ +(?:listening +)?((?:mqtts?|wss?|unix):\/\/\S+)/gm) ?? [];
  const [, data = ""] = /^ +data +(\S+)/m.exec(process.stdout) ?? [];
  const [, metricsUrl] = /^ +metrics +(http:\S+)\/metrics$/m.exec(process.stdout) ?? [];
  return {
    process,
    data,
    urls: urls.map((line) => line.trim().replace(/^listening +/, "")),
    metricsUrl,
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

/** The first device's bundle of a server. */
export function firstBundle(data: string): CertificateBundle {
  const path = join(data, "bundles", "first-device.json");
  return readCertificateBundle(path);
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (typeof address !== "object" || address === null) throw new Error("no port");
  return address.port;
}
