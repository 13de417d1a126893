import assert from "node:assert/strict";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { connect, connectAsync, type IClientOptions } from "mqtt";

import { statusSchema, type Status } from "../src/admin/protocol.ts";
import { configured, plainAnonymous } from "./support/configurations.ts";
import { command, postern, PosternProcess, scratch, up, type TestServer } from "./support/postern.ts";

const persistent: IClientOptions = {
  clientId: "reader",
  protocolVersion: 5,
  clean: false,
  reconnectPeriod: 0,
  properties: { sessionExpiryInterval: 3_600 },
};

async function status(data: string): Promise<Status> {
  const { stdout, code, stderr } = await command(["status", "--json", "--data", data]);
  assert.equal(code, 0, stderr);
  return statusSchema.parse(JSON.parse(stdout));
}

/** Leaves a persistent session with `messages` messages in its queue. */
async function fillQueue(server: TestServer, messages: number): Promise<void> {
  const [url = ""] = server.urls;
  const reader = await connectAsync(url, persistent);
  await reader.subscribeAsync("queue/#", { qos: 1 });
  await reader.endAsync();
  const writer = await connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0 });
  for (let index = 0; index < messages; index += 1) {
    await writer.publishAsync(`queue/${index}`, `message ${index}`, { qos: 1 });
  }
  await writer.endAsync();
}

/** What the persistent session gets when it comes back. */
async function drain(server: TestServer, messages: number): Promise<string[]> {
  const client = connect(server.urls[0] ?? "", persistent);
  const received: string[] = [];
  await new Promise<void>((resolve, reject) => {
    client.on("error", reject);
    client.on("message", (_topic, payload) => {
      received.push(payload.toString());
      if (received.length === messages) resolve();
    });
  });
  await client.endAsync();
  return received;
}

async function killed(server: TestServer): Promise<void> {
  server.process.signal("SIGKILL");
  await server.process.ended;
}

async function stopped(server: TestServer): Promise<void> {
  server.process.signal("SIGTERM");
  const { code, stderr } = await server.process.ended;
  assert.equal(code, 0, stderr);
}

/** The status that a wish for another log level is answered with. */
async function answerTo(socketPath: string, body: string): Promise<number | undefined> {
  const headers = { "content-type": "application/json" };
  const sent = request({ socketPath, method: "PUT", path: "/log/level", headers });
  return new Promise((resolve, reject) => {
    sent.on("error", reject);
    sent.on("response", (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    sent.end(body);
  });
}

describe("a running server", () => {
  const directory = scratch();
  let server: TestServer;
  before(async () => (server = await up(configured(directory.path, plainAnonymous))));
  after(async () => {
    await server[Symbol.asyncDispose]();
    directory[Symbol.dispose]();
  });

  it("shows in `postern status` what it does, for people and for programs", async () => {
    await fillQueue(server, 3);
    const found = await status(server.data);
    assert.equal(found.pid, server.process.child.pid);
    assert.deepEqual(
      found.listeners.map(({ url }) => url),
      server.urls,
    );
    assert.deepEqual(
      { ...found.sessions, subscriptions: 0 },
      { total: 1, disconnected: 1, subscriptions: 0 },
    );
    assert.equal(found.queues.messages, 3);
    assert.deepEqual(
      found.queues.largest.map(({ clientId, messages, connected }) => ({ clientId, messages, connected })),
      [{ clientId: "reader", messages: 3, connected: false }],
    );
    assert.equal(found.counters["publishReceived"], 3);
    assert.deepEqual(
      found.certificates.map(({ name, warning }) => ({ name, warning })),
      [
        { name: "certificate authority", warning: false },
        { name: "server", warning: false },
      ],
    );
    const shown = await postern(["status", "--data", server.data]);
    assert.match(shown.stdout, /^server +Postern /);
    assert.match(shown.stdout, /^queues +3 messages, /m);
    assert.match(shown.stdout, / 3 messages, .* for "reader" of anybody, disconnected$/m);
    assert.match(shown.stdout, /^certificates +certificate authority: 3,6\d\d days left/m);
  });

  it("is watched with `postern status --watch` until Ctrl-C", async () => {
    await using watching = new PosternProcess(["status", "--watch", "--json", "--data", server.data]);
    await watching.until(/\}\n\{.*\}\n/);
    watching.signal("SIGINT");
    const { code, stdout, stderr } = await watching.ended;
    assert.equal(code, 0, stderr);
    for (const line of stdout.trim().split("\n")) statusSchema.parse(JSON.parse(line));
  });

  it("keeps its admin socket to its own user", async () => {
    assert.equal(statSync(join(server.data, "run", "admin.sock")).mode & 0o777, 0o600);
    assert.equal(statSync(join(server.data, "run")).mode & 0o777, 0o700);
  });

  it("answers what is no request with 400, also what is not JSON", async () => {
    for (const body of ["{", "[]", '{"level":"loud"}'])
      assert.equal(await answerTo(join(server.data, "run", "admin.sock"), body), 400, body);
  });

  it("changes its log level while it runs", async () => {
    const changed = await command(["log", "level", "error", "--data", server.data]);
    assert.equal(changed.code, 0, changed.stderr);
    assert.equal((await status(server.data)).logLevel, "error");
    const wrong = await command(["log", "level", "loud", "--data", server.data]);
    assert.equal(wrong.code, 2);
    assert.match(
      wrong.stderr,
      /^postern: .*loud.*Allowed choices are trace, debug, info, warn, error, silent/,
    );
  });

  it("logs one JSON object a line when nobody watches, and never a password", async () => {
    using directory = scratch();
    await using server = await up(configured(directory.path, `${plainAnonymous}log: { level: trace }\n`));
    const client = await connectAsync(server.urls[0] ?? "", {
      username: "u",
      password: "S3CRET",
      reconnectPeriod: 0,
    });
    await client.endAsync();
    await stopped(server);
    const lines = server.process.stderr.trim().split("\n");
    for (const line of lines) assert.equal(typeof JSON.parse(line), "object");
    assert.doesNotMatch(server.process.stderr, /S3CRET|UzNDUkVU/);
    assert.doesNotMatch(readFileSync(join(server.data, "audit", "audit.jsonl"), "utf8"), /S3CRET/);
  });

  it("can be asked although the path of its data directory is longer than a socket's may be", async () => {
    using directory = scratch();
    const data = join(directory.path, "d".repeat(120));
    const [option = "", file = ""] = configured(directory.path, plainAnonymous);
    await using server = await up([option, file, "--data", data]);
    assert.equal((await status(data)).pid, server.process.child.pid);
  });

  it("serves metrics and health on loopback", async () => {
    using directory = scratch();
    const config = plainAnonymous.replace("off", "http://127.0.0.1:0");
    await using server = await up(configured(directory.path, config));
    await fillQueue(server, 2);
    const get = async (path: string) => {
      const response = await fetch(`${server.metricsUrl ?? ""}${path}`);
      return {
        status: response.status,
        type: response.headers.get("content-type"),
        text: await response.text(),
      };
    };
    const metrics = await get("/metrics");
    assert.match(metrics.type ?? "", /^text\/plain; version=0\.0\.4/);
    assert.match(metrics.text, /^# TYPE postern_messages_received_total counter$/m);
    assert.match(metrics.text, /^postern_messages_received_total 2$/m);
    assert.match(metrics.text, /^postern_queued_messages 2$/m);
    assert.match(metrics.text, /^postern_certificate_expiry_timestamp_seconds\{certificate="server"\} \d+/m);
    assert.deepEqual(
      [(await get("/healthz")).status, (await get("/readyz")).status, (await get("/")).status],
      [200, 200, 404],
    );
  });

  it("is stopped by `postern down`, and then there is none to ask", async () => {
    assert.equal((await postern(["down", "--data", server.data])).code, 0);
    assert.equal((await server.process.ended).code, 0);
    for (const words of [["status"], ["down"], ["log", "level", "info"], ["status", "--watch"]]) {
      const { code, stderr } = await command([...words, "--data", server.data]);
      assert.equal(code, 3, words.join(" "));
      assert.match(stderr, /^postern: no server is running on [^\n]+\n$/);
    }
    for (const path of [join(directory.path, "none"), directory.path]) {
      const { code, stderr } = await command(["status", "--data", path]);
      assert.equal(code, 3);
      assert.match(stderr, /^postern: [^\n]+\n$/);
    }
  });
});

describe("the state of a server", () => {
  it("continues at the next start, also after kill -9", async () => {
    using directory = scratch();
    const args = configured(directory.path, plainAnonymous);
    for (const end of [stopped, killed]) {
      {
        await using server = await up(args);
        await fillQueue(server, 5);
        await end(server);
      }
      await using again = await up(args);
      assert.deepEqual(
        await drain(again, 5),
        [0, 1, 2, 3, 4].map((index) => `message ${index}`),
      );
      await stopped(again);
    }
  });

  it("is backed up while it runs or not, and restored into another directory", async () => {
    using directory = scratch();
    const args = configured(directory.path, plainAnonymous);
    const files = [join(directory.path, "running.backup"), join(directory.path, "stopped.backup")];
    {
      await using server = await up(args);
      await fillQueue(server, 4);
      const taken = await command(["backup", "running.backup", "--data", server.data], {
        cwd: directory.path,
      });
      assert.equal(taken.code, 0, taken.stderr);
      await stopped(server);
      const later = await command(["backup", files[1] ?? "", "--data", server.data]);
      assert.equal(later.code, 0, later.stderr);
    }
    for (const [index, file] of files.entries()) {
      assert.equal(statSync(file).mode & 0o077, 0);
      const data = join(directory.path, `restored-${index}`);
      const restored = await command(["restore", file, "--data", data]);
      assert.equal(restored.code, 0, restored.stderr);
      await using server = await up([...args.slice(0, 2), "--data", data]);
      assert.equal((await drain(server, 4)).length, 4);
    }
  });

  it("is not replaced by a backup while the server runs, nor without --force when there is something to lose", async () => {
    using directory = scratch();
    const args = configured(directory.path, plainAnonymous);
    const file = join(directory.path, "b");
    const data = join(directory.path, "data");
    {
      await using server = await up(args);
      await fillQueue(server, 1);
      await command(["backup", file, "--data", data]);
      const running = await command(["restore", file, "--data", data, "--force"]);
      assert.equal(running.code, 1);
      assert.match(
        running.stderr,
        /^postern: a server is running on .*data: stop it first \(`postern down`\)\n$/,
      );
      await stopped(server);
    }
    const kept = await command(["restore", file, "--data", data]);
    assert.equal(kept.code, 1);
    assert.match(kept.stderr, /^postern: there are sessions or messages in .*data already: add --force /);
    assert.equal((await command(["restore", file, "--data", data, "--force"])).code, 0);
    writeFileSync(file, "x");
    const damaged = await command(["restore", file, "--data", data, "--force"]);
    assert.equal(damaged.code, 1);
    assert.match(damaged.stderr, /^postern: [^\n]*backup[^\n]*\n$/);
    const missing = await command(["restore", join(directory.path, "none"), "--data", data, "--force"]);
    assert.match(missing.stderr, /^postern: [^\n]+none[^\n]+\n$/);
  });
});
