import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import type { Address } from "./raw-client.ts";
import type { Listeners } from "./target.ts";

/** What is tested: the program as it is published where `npm test` has built it, otherwise the sources. */
const executable =
  process.env["POSTERN_UNDER_TEST"] ?? join(import.meta.dirname, "../../../cli/bin/postern.js");

/** A running `postern up` with a data directory of its own. */
export interface Postern {
  readonly listeners: { readonly [name in keyof Listeners]-?: Address };
  /** Ends it as Ctrl-C does, throws its data away and returns its exit code. */
  stop(): Promise<number | null>;
}

async function freeAddress(): Promise<Address> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  server.close();
  await once(server, "close");
  return { host: "127.0.0.1", port: address.port };
}

async function accepts(address: Address): Promise<boolean> {
  const socket = connect(address);
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

export async function startPostern(): Promise<Postern> {
  const plain = await freeAddress();
  const limited = await freeAddress();
  const webSocket = await freeAddress();
  const guarded = await freeAddress();
  const directory = await mkdtemp(join(tmpdir(), "postern-test-"));
  const config = join(directory, "config.yaml");
  // Everything that applications publish, as a test of the protocol wants it.
  const everything = "publish, subscribe, will, retain, shared, persistentSession";
  const data = join(directory, "data");
  await mkdir(data);
  await writeFile(
    join(data, "permissions.yaml"),
    `roles: { anonymous: { rules: [{ topics: ["#"], allow: [${everything}] }] } }\n`,
  );
  await writeFile(
    config,
    `listeners:
  - url: mqtt://127.0.0.1:${plain.port}
    anonymous: true
  - url: mqtt://127.0.0.1:${limited.port}
    anonymous: true
    limits:
      packetBytesMax: 2048
      receiveMaximum: 3
      topicAliasMaximum: 3
      keepAliveSecondsMax: 2
  - url: ws://127.0.0.1:${webSocket.port}
    anonymous: true
  - url: mqtt://127.0.0.1:${guarded.port}
responseInformation: responses/\${client}/
metrics:
  url: off
`,
  );
  const args = [executable, "up", "--config", config, "--data", join(directory, "data")];
  // It overwrites memory that it uses again, so that a view that was kept too long is found out.
  const NODE_OPTIONS = `--import=${new URL("../../src/testing/preload-poison.ts", import.meta.url).href}`;
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NODE_OPTIONS },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  }
  const exited = once(child, "exit");
  for (const address of [plain, limited, webSocket, guarded]) {
    while (!(await accepts(address))) {
      assert.equal(child.exitCode, null, `postern up ended:\n${output}`);
      await delay(20);
    }
  }
  return {
    listeners: { plain, limited, webSocket, guarded },
    stop: async () => {
      child.kill("SIGINT");
      await exited;
      await rm(directory, { recursive: true });
      return child.exitCode;
    },
  };
}
