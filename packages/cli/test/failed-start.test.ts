import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { configured, plainAnonymous, tlsOnly } from "./support/configurations.ts";
import {
  bin,
  command,
  freePort,
  postern,
  scratch,
  up,
  type Ended,
  type StartOptions,
} from "./support/postern.ts";

/** Somebody without rights. */
const nobody = 65_534;
const notAsNobody = whyNotAsNobody();

/** Why a test cannot run the program as another user here, or `false`. */
function whyNotAsNobody(): string | false {
  if (process.getuid?.() !== 0) return "only root can start a process of another user";
  const { status } = spawnSync(process.execPath, [bin, "--version"], { uid: nobody, gid: nobody });
  return status === 0 ? false : "other users cannot reach the folder that this checkout is in";
}

/** A data directory that was started once, to be copied and damaged. */
const pristine = scratch();

function preload(name: string): string {
  return `--import=${fileURLToPath(new URL(`support/${name}`, import.meta.url))}`;
}

/** One sentence on stderr, nothing on stdout, no stack trace. */
function assertSentence({ stdout, stderr, code }: Ended, message: RegExp, expectedCode = 1): void {
  assert.match(stderr, message);
  assert.match(stderr, /^postern: [^\n]+\n$/, stderr);
  assert.equal(stdout, "");
  assert.equal(code, expectedCode, stderr);
}

/** All files below a directory with their content, but for what a lock leaves. */
function contentOf(directory: string): Map<string, string> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  const paths = files
    .map(({ parentPath, name }) => join(parentPath, name))
    .filter((path) => !/\/(lock|owner|store\.mdb-lock)$/.test(path));
  return new Map(paths.sort().map((path) => [path, readFileSync(path, "base64")]));
}

/** Damages a copy of the data directory, starts on it, and makes sure that nothing was changed. */
async function startDamaged(damage: (data: string) => void, options?: StartOptions): Promise<Ended> {
  using directory = scratch();
  const args = configured(directory.path, tlsOnly);
  const data = join(directory.path, "data");
  cpSync(join(pristine.path, "data"), data, { recursive: true });
  damage(data);
  const beforeStart = contentOf(data);
  const words = ["up", ...args];
  const ended = await (options === undefined ? command(words) : postern(words, options));
  const audit = join(data, "audit", "audit.jsonl");
  const afterStart = contentOf(data);
  assert.deepEqual(
    [...afterStart].filter(([path]) => path !== audit),
    [...beforeStart].filter(([path]) => path !== audit),
  );
  return ended;
}

function unchanged(): void {}

/** Has the process believe that it is another time. */
function clockAt(time: string): StartOptions {
  return { env: { TEST_CLOCK: time, NODE_OPTIONS: preload("preload-clock.ts") } };
}

describe("a start that cannot succeed", () => {
  before(async () => {
    const server = await up(configured(pristine.path, tlsOnly));
    server.process.signal("SIGTERM");
    assert.equal((await server.process.ended).code, 0);
  });
  after(() => pristine[Symbol.dispose]());

  it("names the port that is taken and who has it", async () => {
    using directory = scratch();
    const holder = createServer().listen(0, "127.0.0.1");
    await once(holder, "listening");
    const address = holder.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    // Another process than the one that has the port.
    const ended = await postern([
      "up",
      ...configured(directory.path, tlsOnly.replace("127.0.0.1:0", `127.0.0.1:${port}`)),
    ]);
    assertSentence(
      ended,
      new RegExp(
        `^postern: cannot listen on mqtts://127\\.0\\.0\\.1:${port}: port ${port} is taken by process ${process.pid} \\(node.*\\): stop it, or choose another port`,
      ),
    );
    holder.close();
  });

  it("names the metrics port that is taken, when the configuration asks for it", async () => {
    using directory = scratch();
    const holder = createServer().listen(0, "127.0.0.1");
    await once(holder, "listening");
    const address = holder.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    // Another process than the one that has the port.
    const ended = await postern([
      "up",
      ...configured(directory.path, plainAnonymous.replace("off", `http://127.0.0.1:${port}`)),
    ]);
    assertSentence(
      ended,
      new RegExp(
        `cannot serve metrics on http://127\\.0\\.0\\.1:${port}: port ${port} is taken by process \\d+ .*metrics\\.url: off`,
      ),
    );
    holder.close();
  });

  it("says how to get the right to a low port", { skip: notAsNobody }, async (t) => {
    if (Number(readFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8")) <= 80) {
      t.skip("this machine gives everybody the right to low ports");
      return;
    }
    using directory = scratch();
    const args = configured(directory.path, "listeners:\n  - url: mqtts://127.0.0.1:80\n");
    chmodSync(directory.path, 0o755);
    mkdirSync(join(directory.path, "data"));
    chownSync(join(directory.path, "data"), nobody, nobody);
    const ended = await postern(["up", ...args], { uid: nobody });
    assertSentence(
      ended,
      /cannot listen on mqtts:\/\/127\.0\.0\.1:80: this user has no right to port 80: choose one above 1023, or .*setcap/,
    );
  });

  it("names an address that is not of this machine, and a name that cannot be resolved", async () => {
    using directory = scratch();
    const foreign = await postern([
      "up",
      ...configured(directory.path, "listeners: [{ url: mqtts://192.0.2.1:0 }]\n"),
    ]);
    assertSentence(foreign, /192\.0\.2\.1 is not an address of this machine/);
    const unknown = await command([
      "up",
      ...configured(directory.path, "listeners: [{ url: mqtts://nowhere.invalid:0 }]\n"),
    ]);
    assertSentence(unknown, /the name nowhere\.invalid cannot be resolved/);
  });

  it("names a Unix socket where something listens, and removes one that is left over", async () => {
    using directory = scratch();
    const path = join(directory.path, "mqtt.sock");
    const config = `listeners: [{ url: "unix://${path}", anonymous: true }]\nmetrics: { url: off }\n`;
    const args = configured(directory.path, config);
    {
      await using first = await up(args);
      const other = [
        "--config",
        join(directory.path, "config.yaml"),
        "--data",
        join(directory.path, "other"),
      ];
      assertSentence(await command(["up", ...other]), /something listens there already/);
      first.process.signal("SIGKILL");
      await first.process.ended;
    }
    assert.ok(existsSync(path));
    await using again = await up(args);
    assert.deepEqual(again.urls, [`unix://${path}`]);
  });

  it("names a data directory that is a file, somebody else's, or out of reach", async () => {
    using directory = scratch();
    const file = join(directory.path, "file");
    writeFileSync(file, "");
    assertSentence(
      await command(["up", "--data", file]),
      /cannot use .*file as the data directory: it is a file/,
    );
    assertSentence(await command(["up", "--data", directory.path]), /it holds something else \("file"\)/);
    assertSentence(await command(["up", "--data", join(file, "below")]), /a file is in the way/);
    assert.deepEqual(readdirSync(directory.path), ["file"]);
  });

  it("names a data directory that this user may not write", { skip: notAsNobody }, async () => {
    using directory = scratch();
    chmodSync(directory.path, 0o755);
    const ended = await postern(["up", "--data", join(directory.path, "data")], { uid: nobody });
    assertSentence(
      ended,
      /cannot create the directory .*data: permission denied; give this user the right to write there or choose another --data/,
    );
  });

  it("names the process that uses the data directory", async () => {
    using directory = scratch();
    const args = configured(directory.path, plainAnonymous);
    await using first = await up(args);
    const ended = await postern(["up", ...args]);
    assertSentence(ended, new RegExp(`in use by another server \\(process ${first.process.child.pid}\\)`));
  });

  it("refuses a data directory of a newer version, and one whose store is damaged, unchanged", async () => {
    assertSentence(
      await startDamaged((data) => writeFileSync(join(data, "version"), "2\n")),
      /written by a newer Postern \(data version 2, this one knows 1\)/,
    );
    assertSentence(
      await startDamaged((data) => writeFileSync(join(data, "state", "store.mdb"), "x".repeat(65_536))),
      /session store .*(restore a backup|move)/i,
    );
  });

  it("refuses keys that are missing, damaged or open to others, unchanged", async () => {
    assertSentence(
      await startDamaged((data) => rmSync(join(data, "pki", "issuing.key"))),
      /issuing\.key, the key of the certificate authority, is missing: put it back from a backup/,
    );
    assertSentence(
      await startDamaged((data) => chmodSync(join(data, "pki", "issuing.key"), 0o644)),
      /is open to other users \(mode 0644\): run chmod 600 /,
    );
    assertSentence(
      await startDamaged((data) => chmodSync(join(data, "bundles", "first-device.json"), 0o640)),
      /first-device\.json .* open to other users/,
    );
    assertSentence(
      await startDamaged((data) => writeFileSync(join(data, "pki", "devices.jsonl"), "{}")),
      /devices\.jsonl, the list of devices, is damaged/,
    );
  });

  it("refuses a clock that cannot be right", async () => {
    assertSentence(
      await startDamaged(unchanged, clockAt("1970-01-01T00:00:10Z")),
      /the clock of this machine shows 1970-01-01T00:00:10Z, which cannot be: set it/,
    );
    assertSentence(
      await startDamaged(unchanged, clockAt("2025-02-01T00:00:00Z")),
      /shows 2025-02-01T00:00:00Z, before this server's certificate authority was made/,
    );
  });

  it("says that the disk is full, and the next start with room succeeds", async () => {
    using directory = scratch();
    const args = configured(directory.path, tlsOnly);
    const ended = await postern(["up", ...args], { env: { NODE_OPTIONS: preload("preload-full-disk.ts") } });
    assertSentence(ended, /the disk is full; free some space and try again/);
    await using server = await up(args);
    assert.equal(server.urls.length, 2);
  });

  it("says what is wrong with the configuration, with 2 and before anything is made", async () => {
    using directory = scratch();
    const args = configured(directory.path, "limits:\n  packetByteMax: 7\n");
    assertSentence(
      await postern(["up", ...args]),
      /config\.yaml:2: unknown key "packetByteMax" under limits; did you mean "packetBytesMax"\?$/m,
      2,
    );
    assertSentence(
      await command(["up", "--config", join(directory.path, "none.yaml")]),
      /none\.yaml: cannot read the configuration: there is no such file/,
      2,
    );
    const open = configured(
      directory.path,
      `listeners: [{ url: "mqtt://0.0.0.0:${await freePort()}", anonymous: true }]\n`,
    );
    assertSentence(await command(["up", ...open]), /config\.yaml:1: .*add "insecure: true" beside it/, 2);
    assert.deepEqual(readdirSync(directory.path), ["config.yaml"]);
  });
});
