import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { TlsOptions } from "node:tls";

import { issueDevice, issueServer, type KeyPair } from "@postern/pki/issue";

import { run } from "../src/main.ts";
import { fakeContext } from "../src/testing.ts";
import { issueCertificates, validity, type Certificates } from "./support/certificates.ts";
import { Mosquitto, mosquittoMissing } from "./support/mosquitto.ts";
import { answers, startPeer, startTlsPeer, type Behaviour } from "./support/peers.ts";
import { freePort, postern } from "./support/postern.ts";

let directory: string;
let certificates: Certificates;
let other: Certificates;

interface Said {
  readonly code: number;
  readonly stderr: string;
}

/** Runs a command line in this process. */
async function say(args: readonly string[], env: Record<string, string> = {}): Promise<Said> {
  const context = fakeContext({ cwd: directory, env });
  const code = await run(args, context);
  return { code, stderr: context.err() };
}

/** Publishes to a server that must not let us; the sentence without its beginning. */
async function refused(url: string, ...args: readonly string[]): Promise<string> {
  const { code, stderr } = await say(["pub", "--url", url, ...args, "t", "m"]);
  assert.equal(code, 3, stderr);
  assert.match(stderr, /^postern: [^\n]+\n$/);
  return stderr.slice("postern: ".length, -1);
}

async function refusedBy(behaviour: Behaviour, ...args: readonly string[]): Promise<string> {
  await using peer = await startPeer(behaviour);
  return await refused(`mqtt://127.0.0.1:${peer.port}`, ...args);
}

async function refusedByTls(options: TlsOptions, host = "127.0.0.1"): Promise<string> {
  await using peer = await startTlsPeer(options);
  return await refused(`mqtts://${host}:${peer.port}`, "--ca", "ca.pem");
}

const silent: Behaviour = () => {};

/** Lets us in, and answers what comes next with DISCONNECT 0x95. */
const objects: Behaviour = (socket) => {
  socket.once("data", () => {
    socket.write(Buffer.of(0x20, 3, 0, 0, 0));
    socket.once("data", () => socket.end(Buffer.of(0xe0, 1, 0x95)));
  });
};

function writeBundle(name: string, changes: Record<string, unknown> = {}): string {
  const { root, device } = certificates;
  const bundle = {
    postern: 1,
    device: "lamp",
    servers: [{ url: "mqtts://127.0.0.1:1" }],
    ca: root.certificate,
    certificate: device.certificate,
    key: device.key,
    ...changes,
  };
  writeFileSync(join(directory, name), JSON.stringify(bundle), { mode: 0o600 });
  return name;
}

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "postern-errors-"));
  certificates = await issueCertificates();
  other = await issueCertificates();
  writeFileSync(join(directory, "ca.pem"), certificates.root.certificate);
});
after(() => rmSync(directory, { recursive: true, force: true }));

/** A port whose queue of connections is full, so that nothing answers a new one. */
async function fullListener(): Promise<Disposable & { readonly port: number }> {
  const program =
    "import socket\ns=socket.socket(); s.bind(('127.0.0.1',0)); s.listen(0)\nc=[socket.socket() for _ in range(4)]\n[x.setblocking(False) or x.connect_ex(s.getsockname()) for x in c]\nprint(s.getsockname()[1], flush=True)\ninput()";
  const child = spawn("python3", ["-c", program], { stdio: ["pipe", "pipe", "inherit"] });
  const [line] = await once(child.stdout, "data");
  return { port: Number(String(line)), [Symbol.dispose]: () => child.kill() };
}

describe("a server that cannot be reached", () => {
  it("refuses the connection: told by a process in one sentence, without a stack trace, and 3", async () => {
    const port = await freePort();
    assert.deepEqual(await postern(["sub", "--url", `mqtt://127.0.0.1:${port}`, "t"]), {
      code: 3,
      signal: null,
      stdout: "",
      stderr: `postern: cannot connect to mqtt://127.0.0.1:${port}: connection refused: is the server running, and listening there?\n`,
    });
  });

  it("has a name that does not exist, or a socket that does not", async () => {
    assert.match(await refused("mqtt://no-such-host.invalid"), /name/);
    assert.match(await refused(`unix://${directory}/none`), /there is no such socket/);
  });

  it("never answers, in TCP's, TLS's or MQTT's terms", async () => {
    const timeout = ["--connect-timeout", "0.2"];
    assert.match(await refusedBy(silent, ...timeout), /does not answer in MQTT within 0.2 s/);
    await using peer = await startPeer(silent);
    const url = `mqtts://127.0.0.1:${peer.port}`;
    assert.match(await refused(url, ...timeout), /does not answer in TLS within 0.2 s/);
  });

  it("is hidden, and so answers nothing: says what to look at, by what the bundle says of knocking", async () => {
    // What nobody reads from: the queue of connections is full, and the system drops the next, as a gate does.
    using full = await fullListener();
    const servers = [{ url: `mqtts://127.0.0.1:${full.port}` }];
    const knock = {
      gate: "00".repeat(8),
      port: full.port,
      secret: Buffer.alloc(64).toString("base64"),
      service: 1,
    };
    const timeout = ["--connect-timeout", "0.3", "--no-reconnect"];
    const said = async (name: string, changes: object): Promise<string> => {
      const bundle = writeBundle(name, { servers, ...changes });
      const { code, stderr } = await postern([
        "pub",
        "--bundle",
        join(directory, bundle),
        ...timeout,
        "t",
        "x",
      ]);
      assert.equal(code, 3, stderr);
      return stderr;
    };
    assert.match(await said("silent.json", {}), /is hidden and this bundle does not say how to knock/);
    assert.match(
      await said("knocking.json", { knock: { ...knock, address: "own" } }),
      /we knocked, so the address or this machine's clock is wrong, the device was revoked/,
    );
  });

  it("speaks something else", async () => {
    const http = Buffer.from("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    assert.match(await refusedBy(answers(...http)), /does not speak MQTT/);
    await using peer = await startPeer(answers(...http));
    assert.match(await refused(`mqtts://127.0.0.1:${peer.port}`), /what answers there does not speak TLS/);
    assert.match(await refused(`ws://127.0.0.1:${peer.port}/mqtt`), /400/);
  });

  it("closes without an answer, with what may be the reason", async () => {
    const sentence = await refusedBy(answers());
    assert.match(sentence, /closed the connection without an answer: it may want TLS.*--mqtt-version 3.1.1/);
  });

  it("is tried at the next address of the bundle", async () => {
    await using peer = await startTlsPeer({
      cert: certificates.server.certificate,
      key: certificates.server.key,
    });
    const servers = [
      { url: `mqtts://127.0.0.1:${await freePort()}` },
      { url: `mqtts://localhost:${peer.port}` },
    ];
    const bundle = writeBundle("two.json", { servers });
    assert.deepEqual(await say(["pub", "--bundle", bundle, "t", "m"]), { code: 0, stderr: "" });
  });
});

describe("a server that TLS does not verify", () => {
  it("has a certificate of another authority; the runtime's authorities count for nothing beside --ca", async () => {
    const { certificate: cert, key } = other.server;
    assert.match(await refusedByTls({ cert, key }), /not issued by the certificate authority we trust/);
  });

  it("is refused whatever NODE_TLS_REJECT_UNAUTHORIZED says", async () => {
    const { certificate: cert, key } = other.server;
    await using peer = await startTlsPeer({ cert, key });
    const { code, stderr } = await postern(
      ["pub", "--url", `mqtts://127.0.0.1:${peer.port}`, "--ca", "ca.pem", "t", "m"],
      { cwd: directory, env: { NODE_TLS_REJECT_UNAUTHORIZED: "0" } },
    );
    assert.match(stderr, /not issued by the certificate authority we trust/);
    assert.equal(code, 3);
  });

  it("has an expired certificate, or one of the future: the clock may be wrong", async () => {
    for (const [period, sentence] of [
      [validity.past(), /its certificate has expired \(by this machine's clock it is 2\d{3}-/],
      [validity.future(), /not valid yet: is this machine's clock right\? It says 2\d{3}-/],
    ] as const) {
      const hosts = ["127.0.0.1"];
      const issued = await issueServer({ hosts, validity: period, issuer: certificates.root });
      assert.match(await refusedByTls({ cert: issued.certificate, key: issued.key }), sentence);
    }
  });

  it("has a certificate for another name: both are named", async () => {
    const hosts = ["broker.example", "10.0.0.1"];
    const { root } = certificates;
    const issued = await issueServer({ hosts, validity: validity.present(), issuer: root });
    const options = { cert: issued.certificate, key: issued.key };
    for (const host of ["127.0.0.1", "localhost"]) {
      assert.match(
        await refusedByTls(options, host),
        new RegExp(`its certificate is not for ${host}, but for broker.example, 10.0.0.1`),
      );
    }
  });

  it("offers TLS 1.1 at most", async () => {
    const { certificate: cert, key } = certificates.server;
    const old = { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "ALL:@SECLEVEL=0" } as const;
    assert.match(await refusedByTls({ cert, key, ...old }), /no version of TLS that is safe/);
  });

  it("wants a client certificate, or closes when it has seen ours", async () => {
    const { certificate: cert, key } = certificates.server;
    const asking = { cert, key, requestCert: true, rejectUnauthorized: true };
    assert.match(
      await refusedByTls({ ...asking, ca: certificates.root.certificate }),
      /the server refused us in TLS \(certificate required\)/,
    );
    await using peer = await startTlsPeer({ ...asking, ca: other.root.certificate });
    const servers = [{ url: `mqtts://127.0.0.1:${peer.port}` }];
    const { code, stderr } = await say([
      "pub",
      "--bundle",
      writeBundle("refused.json", { servers }),
      "t",
      "m",
    ]);
    assert.match(stderr, /closed the connection without an answer: it may not accept our certificate/);
    assert.equal(code, 3);
  });

  it("says in TLS what it has against our certificate", { skip: mosquittoMissing }, async () => {
    const { root, server } = certificates;
    const expired = await issueDevice({
      tenant: "t",
      device: "lamp",
      issuer: root,
      validity: validity.past(),
    });
    await using mosquitto = await Mosquitto.start((home, port) => {
      writeFileSync(join(home, "ca"), root.certificate);
      writeFileSync(join(home, "cert"), server.certificate);
      writeFileSync(join(home, "key"), server.key);
      const files = ["cafile", "certfile", "keyfile"].map(
        (name) => `${name} ${join(home, name.slice(0, -4))}`,
      );
      return [`listener ${port} 127.0.0.1`, "require_certificate true", "allow_anonymous true", ...files];
    });
    const servers = [{ url: `mqtts://127.0.0.1:${mosquitto.port}` }];
    const publish = ({ certificate, key }: KeyPair) =>
      say(["pub", "t", "m", "--bundle", writeBundle("alert.json", { servers, certificate, key })]);
    assert.deepEqual(await publish(certificates.device), { code: 0, stderr: "" });
    const unknown = await publish(other.device);
    assert.match(unknown.stderr, /the server refused us in TLS \(unknown ca\)/);
    const { code, stderr } = await publish(expired);
    assert.match(
      stderr,
      /refused us in TLS \(certificate expired\); our certificate expired on 2.*new bundle/,
    );
    assert.equal(code, 3);
  });
});

describe("a server that refuses the connection", () => {
  it("names the reason of MQTT 5 and of MQTT 3, and quotes the server (MQTT 5.0 §3.2.2.2, 3.1.1 §3.2.2.3)", async () => {
    const reason = Buffer.from("\u001f\u0000\u0004gone");
    const cases: readonly (readonly [bytes: readonly number[], args: readonly string[], sentence: RegExp])[] =
      [
        [
          [0x20, 3, 0, 0x87, 0],
          [],
          /refused the connection: Not authorized \(0x87\); it does not know this device/,
        ],
        [[0x20, 3, 0, 0x88, 0], [], /Server unavailable \(0x88\)$/],
        [[0x20, 3 + reason.length, 0, 0x8a, reason.length, ...reason], [], /Banned \(0x8a\), saying "gone"/],
        [[0x20, 3, 0, 0x84, 0], [], /Unsupported Protocol Version \(0x84\); choose another --mqtt-version/],
        [[0x20, 2, 0, 1], ["--mqtt-version", "3.1.1"], /Unsupported Protocol Version/],
        [
          [0x20, 2, 0, 2],
          ["--mqtt-version", "3.1.1"],
          /Client Identifier not valid.*choose another --client-id/,
        ],
        [[0x20, 2, 0, 4], ["--mqtt-version", "3.1"], /Bad User Name or Password.*check --username/],
        [[0x20, 2, 0, 5], ["--mqtt-version", "3.1"], /Not authorized/],
      ];
    for (const [bytes, args, sentence] of cases) {
      assert.match(await refusedBy(answers(...bytes), ...args), sentence);
    }
  });

  it("ends the connection with a reason, after which connecting again would not help (MQTT 5.0 §3.14)", async () => {
    const takenOver = [0x20, 3, 0, 0, 0, 0xe0, 1, 0x8e];
    const { code, stderr } = await (async () => {
      await using peer = await startPeer(answers(...takenOver));
      return await say(["sub", "--url", `mqtt://127.0.0.1:${peer.port}`, "t"]);
    })();
    assert.match(
      stderr,
      /ended the connection: Session taken over \(0x8e\); somebody else uses the same client id/,
    );
    assert.equal(code, 3);
  });

  it("breaks the rules of MQTT, which ends the connection and not the process", async () => {
    const publish = [0x32, 4, 0, 2, 0x61, 0x62];
    const pubrel = [0x62, 1, 0];
    for (const [version, connack] of [
      ["5", [0x20, 3, 0, 0, 0]],
      ["3.1.1", [0x20, 2, 0, 0]],
    ] as const) {
      for (const [command, packet, name] of [
        [["sub", "t"], publish, "PUBLISH"],
        [["pub", "--lines", "t"], publish, "PUBLISH"],
        [["sub", "t"], pubrel, "PUBREL"],
      ] as const) {
        await using peer = await startPeer(answers(...connack, ...packet));
        const url = ["--url", `mqtt://127.0.0.1:${peer.port}`, "--mqtt-version", version, "--no-reconnect"];
        const { code, stderr } = await say([...command, ...url]);
        assert.match(stderr, new RegExp(`^postern: .*${name} without a Packet Identifier`));
        assert.equal(code, 3);
      }
    }
  });

  it("objects to what was sent last, also with QoS 0", async () => {
    assert.match(await refusedBy(objects), /ended the connection: Packet too large \(0x95\)/);
  });
});

async function usage(...args: readonly string[]): Promise<string> {
  const { code, stderr } = await say(["pub", ...args, "t", "m"]);
  assert.equal(code, 2, stderr);
  return stderr;
}

describe("a bundle or file that cannot be used", () => {
  it("is named with what is wrong, ends with 2, and shows nothing of its content", async () => {
    writeFileSync(join(directory, "text"), "-----BEGIN PRIVATE KEY-----\nsecret", { mode: 0o600 });
    writeFileSync(join(directory, "empty"), "\n", { mode: 0o600 });
    symlinkSync(join(directory, "nowhere"), join(directory, "link"));
    const { key } = other.device;
    const cases: readonly (readonly [args: readonly string[], sentence: RegExp])[] = [
      [["--bundle", "none.json"], /cannot read the bundle none.json: there is no such file/],
      [["--bundle", "link"], /there is no such file/],
      [["--bundle", "."], /it is a directory/],
      [["--bundle", "text"], /text is not a device bundle: it is not JSON/],
      [["--bundle", writeBundle("v2.json", { postern: 2 })], /"postern"/],
      [
        ["--bundle", writeBundle("key.json", { key })],
        /key.json: the key cannot be used: it is not the certificate's/,
      ],
      [["--url", "mqtts://h", "--ca", "text"], /the certificate authority cannot be used/],
      [["--url", "mqtts://h", "--cert", "text"], /--cert and --key go together/],
      [["--url", "mqtts://h", "--ca", "none.pem"], /cannot read the certificate authority none.pem/],
      [["--url", "mqtt://h", "--username", "u", "--password-file", "empty"], /has an empty first line/],
      [["--url", "mqtt://h", "--ca", "ca.pem"], /--ca, --cert and --key are for mqtts:\/\/ and wss:\/\//],
    ];
    for (const [args, sentence] of cases) {
      const stderr = await usage(...args);
      assert.match(stderr, sentence);
      assert.doesNotMatch(stderr, /secret|BEGIN/);
    }
  });

  it("is not read when the command line makes no sense", async () => {
    assert.match(await usage(), /say which server: --bundle FILE .* or --url URL/);
    const both = await usage("--bundle", "none.json", "--url", "mqtt://h");
    assert.match(both, /leave out --url/);
  });

  it("warns when a password goes over the network in the clear", async () => {
    const args = ["pub", "--url", "mqtt://no-such-host.invalid", "--username", "u", "t", "m"];
    const { stderr } = await say(args, { POSTERN_PASSWORD: "geheim" });
    assert.match(stderr, /warning: the password goes to mqtt:\/\/no-such-host.invalid:1883 unencrypted/);
    assert.doesNotMatch(stderr, /geheim/);
  });
});
