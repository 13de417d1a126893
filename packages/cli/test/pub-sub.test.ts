import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { Proxy, TestBroker } from "./support/broker.ts";
import { issueCertificates, type Certificates } from "./support/certificates.ts";
import { Mosquitto, mosquittoMissing } from "./support/mosquitto.ts";
import { bin, command, freePort, postern, PosternProcess, type Ended } from "./support/postern.ts";

/** Starts `postern sub` and waits until it is subscribed. */
async function subscribed(args: readonly string[]): Promise<PosternProcess> {
  const started = new PosternProcess(["sub", "--verbose", ...args]);
  await started.until(/subscribed to/);
  return started;
}

/** Runs `postern` with its standard output in a file. */
function redirected(file: string, args: readonly string[]) {
  const script = `exec "$@" > "$0"`;
  const child = spawn("sh", ["-c", script, file, process.execPath, bin, ...args], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  const subscribed = new Promise<void>((resolve) => {
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
      if (stderr.includes("subscribed to")) resolve();
    });
  });
  const ended = once(child, "close").then(([code]: unknown[]) => ({ code, stderr }));
  return { subscribed, ended };
}

const linuxOnly = { skip: process.platform === "linux" ? false : "this system has no /proc and /dev/full" };

const quiet = { code: 0, signal: null, stdout: "", stderr: "" };

/** One line for each of `versions` and transports. */
function carriesLines(urls: () => Readonly<Record<"tcp" | "ws" | "unix", string>>): void {
  for (const [version, transport] of [
    ["3.1", "unix"],
    ["3.1.1", "tcp"],
    ["5", "ws"],
  ] as const) {
    it(`carries lines with QoS 2 in MQTT ${version} over ${transport}`, async () => {
      const common = ["--url", urls()[transport], "--mqtt-version", version, "--qos", "2"];
      const topic = `lines/${version}`;
      await using sub = await subscribed([...common, "--topic", "--count", "3", topic]);
      // An empty line is left out, and the last line needs no line feed.
      const input = "one\n\ntwo\nthree";
      assert.deepEqual(await command(["pub", ...common, "--lines", topic], { input }), quiet);
      const { code, stdout } = await sub.ended;
      assert.equal(stdout, `${topic} one\n${topic} two\n${topic} three\n`);
      assert.equal(code, 0);
    });
  }
}

describe("postern pub and sub with Mosquitto", { skip: mosquittoMissing, concurrency: 3 }, () => {
  let mosquitto: Mosquitto;
  let webSocketPort = 0;

  before(async () => {
    webSocketPort = await freePort();
    mosquitto = await Mosquitto.start((directory, port) => {
      writeFileSync(join(directory, "acl"), "topic readwrite #\ntopic deny forbidden\n");
      return [
        `listener ${port} 127.0.0.1`,
        "allow_anonymous true",
        "max_packet_size 2000",
        `acl_file ${join(directory, "acl")}`,
        `listener ${webSocketPort} 127.0.0.1`,
        "protocol websockets",
        `listener 0 ${join(directory, "socket")}`,
      ];
    });
  });
  after(() => mosquitto[Symbol.asyncDispose]());

  carriesLines(() => ({
    tcp: mosquitto.url,
    ws: `ws://127.0.0.1:${webSocketPort}/mqtt`,
    unix: `unix://${join(mosquitto.directory, "socket")}`,
  }));

  it("tells a refused message by the name of its reason, and ends with 1", async () => {
    const { code, stderr } = await command(["pub", "--url", mosquitto.url, "--qos", "1", "forbidden", "x"]);
    assert.equal(stderr, 'postern: the server refused the message to "forbidden": Not authorized (0x87)\n');
    assert.equal(code, 1);
  });

  it("refuses a packet larger than the server takes, with both sizes, before it is sent", async () => {
    const { code, stderr } = await command(["pub", "--url", mosquitto.url, "big", "x".repeat(2000)]);
    assert.equal(
      stderr,
      `postern: the message makes a packet of 2009 bytes; ${mosquitto.url} takes 2000 at most\n`,
    );
    assert.equal(code, 1);
  });
});

describe("postern pub and sub with our own broker", { concurrency: 3 }, () => {
  let certificates: Certificates;
  let server: TestBroker;
  let urls: Readonly<Record<"tcp" | "ws" | "unix" | "tls" | "wss", string>>;
  let port = 0;

  before(async () => {
    certificates = await issueCertificates();
    server = new TestBroker({ certificates });
    const tcp = await server.listen("mqtt");
    port = tcp.port;
    urls = {
      tcp: tcp.url,
      ws: (await server.listen("ws")).url,
      unix: (await server.listen("unix")).url,
      tls: (await server.listen("mqtts")).url,
      wss: (await server.listen("wss")).url,
    };
  });
  after(() => server[Symbol.asyncDispose]());

  const pub = (args: readonly string[], input?: string | Buffer): Promise<Ended> =>
    command(["pub", "--url", urls.tcp, ...args], input === undefined ? {} : { input });

  const sub = (topic: string, args: readonly string[]): Promise<Ended> =>
    command(["sub", "--url", urls.tcp, ...args, topic]);

  /** Subscribes in a session that goes on, and leaves. */
  async function startSession(args: readonly string[]): Promise<void> {
    await using started = await subscribed(["--url", urls.tcp, ...args]);
    started.signal("SIGINT");
    assert.equal((await started.ended).code, 130);
  }

  function writeBundle(name: string, mode: number): string {
    const path = join(server.directory, name);
    const bundle = {
      postern: 1,
      device: "lamp",
      servers: [{ url: urls.tls }, { url: urls.wss }],
      ca: certificates.root.certificate,
      certificate: certificates.device.certificate,
      key: certificates.device.key,
    };
    writeFileSync(path, JSON.stringify(bundle), { mode });
    return path;
  }

  carriesLines(() => urls);

  it("needs nothing but a bundle: TLS with its authority and certificate", async () => {
    const bundle = ["--bundle", writeBundle("lamp.json", 0o600)];
    await using sub = await subscribed([...bundle, "--count", "1", "bundle/a"]);
    assert.deepEqual(await command(["pub", ...bundle, "bundle/a", "hello"]), quiet);
    assert.deepEqual((await sub.ended).stdout, "hello\n");
  });

  it("warns of a bundle that others can read, and works all the same", async () => {
    const path = writeBundle("open.json", 0o644);
    const { code, stderr } = await command(["pub", "--bundle", path, "bundle/b", "x"]);
    assert.match(stderr, /^postern: warning: .*open to other users \(mode 0644\): run chmod 600 .*\n$/);
    assert.equal(code, 0);
  });

  it("speaks WebSocket over TLS with certificates from files", async () => {
    const files = { ca: certificates.root.certificate, cert: certificates.device.certificate };
    const args = Object.entries({ ...files, key: certificates.device.key }).flatMap(([name, pem]) => {
      const path = join(server.directory, `${name}.pem`);
      writeFileSync(path, pem, { mode: 0o600 });
      return [`--${name}`, path];
    });
    assert.deepEqual(await command(["pub", "--url", urls.wss, ...args, "--qos", "1", "files", "x"]), quiet);
  });

  it("carries all properties of a message, and prints them as JSON", async () => {
    await using sub = await subscribed([
      "--url",
      urls.tcp,
      "--json",
      "--count",
      "1",
      "--property",
      "subscription-identifier=7",
      "json/#",
    ]);
    const properties = [
      ["--content-type", "text/plain", "--response-topic", "answers/1", "--correlation", "hex:ff00"],
      ["--user-property", "k=1", "--user-property", "k=a=b", "--expiry", "60"],
      ["--property", "payload-format-indicator=1"],
    ].flat();
    const { code, stdout } = await pub([...properties, "--json", "--qos", "1", "json/a", "€"]);
    assert.equal(code, 0);
    assert.deepEqual(JSON.parse(stdout), {
      message: 1,
      topic: "json/a",
      qos: 1,
      retain: false,
      bytes: 3,
      reasonCode: 0,
      reason: "Success",
    });
    const { time, ...message } = JSON.parse((await sub.ended).stdout);
    assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000);
    assert.deepEqual(message, {
      topic: "json/a",
      payload: "€",
      encoding: "utf8",
      qos: 0,
      retain: false,
      dup: false,
      properties: {
        payloadFormatIndicator: 1,
        messageExpiryInterval: 60,
        contentType: "text/plain",
        responseTopic: "answers/1",
        correlationData: "/wA=",
        subscriptionIdentifiers: [7],
        userProperties: [
          ["k", "1"],
          ["k", "a=b"],
        ],
      },
    });
  });

  it("says that nobody is subscribed only when asked (MQTT 5.0 §3.4.2.1, 0x10)", async () => {
    assert.deepEqual(await pub(["--qos", "2", "nobody", "x"]), quiet);
    const { stdout, stderr } = await pub(["--qos", "2", "--verbose", "--json", "nobody", "x"]);
    assert.match(stderr, /message 1: nobody is subscribed to "nobody"/);
    assert.match(stdout, /"reasonCode":16,"reason":"No matching subscribers"/);
  });

  it("publishes a file byte for byte, and prints what is not text as base64 with a note, or raw", async () => {
    const payload = Buffer.from(Array.from({ length: 512 }, (_, index) => index % 256));
    const path = join(server.directory, "payload");
    writeFileSync(path, payload);
    await using lines = await subscribed(["--url", urls.tcp, "--count", "1", "binary"]);
    const rawPath = join(server.directory, "raw");
    const args = ["sub", "--url", urls.tcp, "--verbose", "--format", "raw", "--count", "2", "binary"];
    const raw = redirected(rawPath, args);
    await raw.subscribed;
    assert.deepEqual(await pub(["--file", path, "--retain", "--qos", "1", "binary"]), quiet);
    const { stdout, stderr } = await lines.ended;
    assert.equal(stdout, `base64:${payload.toString("base64")}\n`);
    assert.match(stderr, /payloads that are not text are printed as "base64:…"/);
    assert.deepEqual(await pub(["--file", "-", "--qos", "1", "binary"], payload), quiet);
    assert.equal((await raw.ended).code, 0);
    assert.deepEqual(readFileSync(rawPath), Buffer.concat([payload, payload]));
  });

  it("publishes a message again and again, at intervals", async () => {
    await using sub = await subscribed(["--url", urls.tcp, "--count", "3", "again"]);
    const startMs = performance.now();
    assert.deepEqual(await pub(["--count", "3", "--interval", "0.2", "again", "x"]), quiet);
    assert.ok(performance.now() - startMs >= 400);
    assert.equal((await sub.ended).stdout, "x\nx\nx\n");
  });

  it("retains, clears with an empty message, and ends with 1 when fewer messages came in time", async () => {
    assert.deepEqual(await pub(["--retain", "retained", "on"]), quiet);
    assert.deepEqual(await sub("retained", ["--count", "1"]), { ...quiet, stdout: "on\n" });
    const late = ["--timeout", "0.3"];
    assert.deepEqual(await sub("retained", ["--retain-handling", "2", ...late]), {
      ...quiet,
      code: 1,
      stderr: "postern: 0 of 1 messages came within 0.3 seconds\n",
    });
    // With a time alone, one message is enough; the time includes the connection.
    assert.deepEqual(await sub("retained", ["--timeout", "3"]), { ...quiet, stdout: "on\n" });
    assert.deepEqual(await pub(["--retain", "--null", "retained"]), quiet);
    assert.equal((await sub("retained", ["--count", "2", ...late])).code, 1);
  });

  it("gives the messages of a shared subscription to one member each", async () => {
    const args = ["--url", urls.tcp, "--qos", "1", "--count", "2", "$share/workers/shared/#"];
    await using first = await subscribed(args);
    await using second = await subscribed(args);
    assert.deepEqual(await pub(["--lines", "--qos", "1", "shared/x"], "1\n2\n3\n4\n"), quiet);
    const lines = (await first.ended).stdout + (await second.ended).stdout;
    assert.deepEqual(lines.trim().split("\n").sort(), ["1", "2", "3", "4"]);
  });

  it("takes no more than --count from a persistent session, with any QoS, and finds the rest later", async () => {
    for (const [version, qos] of [
      ["5", "2"],
      ["3.1.1", "1"],
    ] as const) {
      const topic = `kept/${version}/${qos}`;
      const id = `kept-${version}-${qos}`;
      const session = ["--no-clean", "--client-id", id, "--mqtt-version", version, "--qos", qos];
      const run = (args: readonly string[]) => sub(topic, [...session, ...args]);
      await startSession([...session, topic]);
      assert.deepEqual(await pub(["--lines", "--qos", qos, topic], "1\n2\n3\n4\n5\n"), quiet);
      assert.equal((await run(["--count", "1"])).stdout, "1\n");
      assert.equal((await run(["--count", "4"])).stdout, "2\n3\n4\n5\n");
      assert.equal((await run(["--timeout", "0.3"])).stdout, "", "nothing comes twice");
    }
  });

  it("connects again when the connection breaks, says so once, and loses nothing of a session", async () => {
    await using proxy = await Proxy.start(port);
    const session = ["--no-clean", "--client-id", "again-sub", "--qos", "2"];
    await using sub = await subscribed(["--url", proxy.url, ...session, "--count", "4", "again/#"]);
    const own = ["--no-clean", "--client-id", "again-pub", "--lines", "--qos", "2"];
    const args = ["pub", "--url", proxy.url, "--verbose", ...own, "again/x"];
    await using publisher = new PosternProcess(args, { input: null });
    publisher.child.stdin?.write("1\n2\n");
    await publisher.until(/message 2: acknowledged/);
    proxy.isCut = true;
    proxy.cut();
    await publisher.until(/connection lost/);
    publisher.child.stdin?.end("3\n4\n");
    await sub.until(/connection lost/);
    // Nothing can reach the server for a moment: the first attempt fails too.
    await publisher.until(/trying again/);
    proxy.isCut = false;
    const ended = await publisher.ended;
    assert.equal(ended.code, 0);
    assert.equal(ended.stderr.match(/connection lost/g)?.length, 1);
    assert.match(ended.stderr, /connected again\n/);
    const { code, stdout, stderr } = await sub.ended;
    assert.equal(stdout, "1\n2\n3\n4\n");
    assert.equal(stderr.match(/connection lost/g)?.length, 1);
    assert.equal(code, 0);
  });

  it("subscribes again after a connection without a session, and ends with 3 when told not to connect again", async () => {
    await using proxy = await Proxy.start(port);
    await using sub = await subscribed(["--url", proxy.url, "--count", "1", "anew"]);
    await using once = await subscribed(["--url", proxy.url, "--no-reconnect", "anew/other"]);
    proxy.cut();
    const { code, stderr } = await once.ended;
    assert.match(stderr, /\npostern: .*(closed|broke off) the connection\n$/);
    assert.equal(code, 3);
    await sub.until(/connected again \(the server kept nothing for us\)[\s\S]*subscribed to "anew"/);
    assert.deepEqual(await pub(["--qos", "1", "anew", "x"]), quiet);
    assert.equal((await sub.ended).stdout, "x\n");
  });

  it("ends with 130 on Ctrl-C and takes leave, so that the will is not published; a killed one leaves its will", async () => {
    await using wills = await subscribed(["--url", urls.tcp, "--count", "1", "wills/#"]);
    const will = ["--will-topic", "wills/x", "--will-qos", "1", "--will-message"];
    for (const signal of ["SIGINT", "SIGKILL"] as const) {
      await using sub = await subscribed(["--url", urls.tcp, ...will, signal, "nothing"]);
      sub.signal(signal);
      const ended = await sub.ended;
      assert.equal(ended.code, signal === "SIGINT" ? 130 : null);
    }
    assert.equal((await wills.ended).stdout, "SIGKILL\n");

    await using waiting = new PosternProcess(["pub", "--url", urls.tcp, "--verbose", "--lines", "t"], {
      input: null,
    });
    await waiting.until(/connected to/);
    waiting.signal("SIGTERM");
    assert.equal((await waiting.ended).code, 130);
  });

  it("ends quietly with 0 when nobody reads its output any more", async () => {
    await using sub = await subscribed(["--url", urls.tcp, "pipe"]);
    sub.child.stdout?.destroy();
    const before = sub.stderr;
    // What is written first shows that nobody reads, at the latest what is written next.
    await pub(["--qos", "1", "--count", "3", "--interval", "0.1", "pipe", "x"]);
    assert.deepEqual(await sub.ended, { ...quiet, stderr: before });
  });

  it(
    "says so when its output cannot be written, and does not acknowledge what got lost",
    linuxOnly,
    async () => {
      const session = ["--no-clean", "--client-id", "full", "--qos", "1"];
      await startSession([...session, "full"]);
      assert.deepEqual(await pub(["--qos", "1", "full", "x"]), quiet);
      const full = await redirected("/dev/full", ["sub", "--url", urls.tcp, ...session, "full"]).ended;
      assert.match(full.stderr, /^postern: cannot write the output: .*ENOSPC.*\n$/);
      assert.equal(full.code, 1);
      assert.deepEqual(await sub("full", [...session, "--count", "1"]), { ...quiet, stdout: "x\n" });
    },
  );

  it("names a refused filter, goes on with the others, and ends with 3 when none is left", async () => {
    await using sub = await subscribed(["--url", urls.tcp, "--count", "1", "forbidden/a", "allowed/+"]);
    assert.match(
      sub.stderr,
      /the server refused the subscription to "forbidden\/a": Not authorized \(0x87\); going on with the others/,
    );
    assert.deepEqual(await pub(["allowed/a", "x"]), quiet);
    assert.equal((await sub.ended).code, 0);

    const all = await command(["sub", "--url", urls.tcp, "forbidden/a", "forbidden/b"]);
    assert.equal(
      all.stderr,
      'postern: the server refused the subscription to "forbidden/a": Not authorized (0x87); the server refused the subscription to "forbidden/b": Not authorized (0x87)\n',
    );
    assert.equal(all.code, 3);
  });

  it("stops at the first line that the server refuses, and reports it as JSON too", async () => {
    const { code, stdout, stderr } = await pub(["--qos", "1", "--lines", "--json", "forbidden/x"], "1\n");
    assert.match(stdout, /"message":1,.*"reasonCode":135,"reason":"Not authorized"/);
    assert.equal(stderr, 'postern: the server refused the message to "forbidden/x": Not authorized (0x87)\n');
    assert.equal(code, 1);
  });

  it("takes the password from a file or the environment, and names the reason when it is wrong", async () => {
    const file = join(server.directory, "password");
    writeFileSync(file, "geheim\n", { mode: 0o600 });
    const args = ["pub", "--url", urls.tcp, "--username", "alice", "--qos", "1"];
    assert.deepEqual(await command([...args, "--password-file", file, "p", "x"]), quiet);
    assert.deepEqual(await command([...args, "p", "x"], { env: { POSTERN_PASSWORD: "geheim" } }), quiet);
    const wrong = await command([...args, "--mqtt-version", "3.1.1", "p", "x"], {
      env: { POSTERN_PASSWORD: "no" },
    });
    assert.match(
      wrong.stderr,
      /refused the connection: Bad User Name or Password \(0x86\); check --username/,
    );
    assert.equal(wrong.code, 3);
  });
});

/** By itself: the other tests would wait while so much passes through this process. */
describe("postern sub whose output waits", () => {
  it("reads no faster than its output is read, and stays connected meanwhile", linuxOnly, async () => {
    const size = 200_000;
    const count = 300;
    await using server = new TestBroker();
    const { url } = await server.listen("mqtt");
    await using sub = await subscribed([
      "--url",
      url,
      "--qos",
      "1",
      "--keep-alive",
      "3",
      "--no-reconnect",
      "--count",
      `${count}`,
      "slow",
    ]);
    sub.child.stdout?.pause();
    const file = join(server.directory, "large");
    writeFileSync(file, "x".repeat(size));
    assert.deepEqual(
      await postern(["pub", "--url", url, "--file", file, "--count", `${count}`, "--qos", "1", "slow"]),
      quiet,
    );
    // Longer than the server waits for a client that says nothing: one and a half times the keep-alive time.
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    const status = readFileSync(`/proc/${sub.child.pid ?? 0}/status`, "utf8");
    const residentMb = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1_024;
    assert.ok(residentMb < 200, `${residentMb} MB for ${(size * count) / 1e6} MB that wait`);
    sub.child.stdout?.resume();
    const { code, stdout, stderr } = await sub.ended;
    assert.equal(stdout.length, (size + 1) * count);
    assert.doesNotMatch(stderr, /connection lost/);
    assert.equal(code, 0);
  });
});
