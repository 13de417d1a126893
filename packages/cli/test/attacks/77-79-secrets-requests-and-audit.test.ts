import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { describe, it } from "node:test";

import { connectPacket, HandClient } from "@postern/broker/testing/hand-client";

import { configured } from "../support/configurations.ts";
import { addDevice, addressOf, auditOf, codeOf, tlsAndInsecure } from "../support/credentials.ts";
import { command, scratch, up } from "../support/postern.ts";

/** A user store on loopback. It answers what `answer` returns, or whatever status that is. */
async function userStore(answer: (question: string, request: IncomingMessage) => object | number) {
  const questions: string[] = [];
  const server = createHttpServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
    request.on("end", () => {
      questions.push(body);
      const said = answer(body, request);
      if (typeof said === "object") response.end(JSON.stringify(said));
      else response.writeHead(said, { location: "http://169.254.169.254/latest/meta-data/" }).end("{}");
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    questions,
    url: `http://127.0.0.1:${typeof address === "object" ? (address?.port ?? 0) : 0}/check`,
    [Symbol.dispose]: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** All files below a directory. */
function filesOf(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

describe("attack 77: secrets left lying around", () => {
  it("passwords, tokens and bearers of a run are in no file but the bundles, in no log, argument or environment", async () => {
    using directory = scratch();
    using store = await userStore(() => ({ result: "deny" }));
    writeFileSync(join(directory.path, "bearer"), "BEARER-of-the-hook-4711\n", { mode: 0o600 });
    const config = `${tlsAndInsecure}log: { level: trace }
authentication: { hook: { url: "${store.url}", bearerFile: bearer } }
`;
    await using server = await up(configured(directory.path, config));
    const [, plain = ""] = server.urls;
    const { password = "" } = await addDevice(server, "pump", "--auth", "password");
    const { token = "" } = await addDevice(server, "meter", "--auth", "token");
    const guess = "GUESS-wrong-horse-battery";
    const codes = [
      await codeOf(plain, { username: "pump", password }),
      await codeOf(plain, { username: "pump", password: guess }),
      await codeOf(plain, { username: "alice", password: guess }),
      await codeOf(plain, { username: "meter", password: token }),
      await codeOf(plain, { password: `${token.slice(0, -4)}AAAA` }),
    ];
    assert.deepEqual(codes, [0, 0x86, 0x86, 0, 0x86]);
    assert.match(store.questions.join(), new RegExp(guess));
    assert.equal((await command(["log", "verify", "--data", server.data])).code, 0);

    const signature = token.split(".").at(-1) ?? "";
    const secrets = [password, guess, signature, "BEARER-of-the-hook-4711"];
    const bundles = join(server.data, "bundles");
    const files = filesOf(server.data).filter((path) => !path.startsWith(bundles));
    assert.ok(files.length > 8);
    const { pid } = server.process.child;
    const places = [...files, `/proc/${pid}/cmdline`, `/proc/${pid}/environ`].map(
      (path) => [path, readFileSync(path)] as const,
    );
    places.push(["the log", Buffer.from(server.process.stdout + server.process.stderr)]);
    for (const [place, bytes] of places)
      for (const secret of secrets)
        for (const form of [
          secret,
          Buffer.from(secret).toString("base64"),
          Buffer.from(secret).toString("hex"),
        ])
          assert.equal(bytes.includes(form), false, `${place} holds ${secret.slice(0, 5)}…`);
    for (const path of filesOf(server.data)) assert.equal(statSync(path).mode & 0o077, 0, path);
  });
});

describe("attack 78: default passwords, and requests that the server can be talked into", () => {
  it("there is no account to begin with, and the admin API is a socket of its owner alone", async () => {
    using directory = scratch();
    await using server = await up(configured(directory.path, tlsAndInsecure));
    const [, plain = ""] = server.urls;
    for (const [index, [username, password]] of [
      ["admin", "admin"],
      ["admin", "public"],
      ["root", "root"],
      ["guest", "guest"],
      ["mqtt", "mqtt"],
      ["postern", "postern"],
      ["first-device", "first-device"],
      ["first-device", ""],
    ].entries())
      assert.equal(await codeOf(plain, { username, password, from: `127.0.4.${index + 1}` }), 0x86);
    for (const name of readdirSync(join(server.data, "run")))
      assert.equal(statSync(join(server.data, "run", name)).mode & 0o077, 0, name);
    assert.equal(statSync(join(server.data, "run")).mode & 0o077, 0);
  });

  it("a user store is asked where the configuration says, and a redirect to credentials of the cloud lets nobody in", async () => {
    using directory = scratch();
    using store = await userStore((question) =>
      question.includes("alice") ? { result: "allow", name: "alice@example.org", roles: ["observer"] } : 302,
    );
    const config = `${tlsAndInsecure}authentication: { hook: { url: "${store.url}" } }\n`;
    await using server = await up(configured(directory.path, config));
    const [, plain = ""] = server.urls;
    assert.equal(await codeOf(plain, { username: "mallory", password: "x" }), 0x88);
    assert.equal(await codeOf(plain, { username: "http://169.254.169.254/", password: "x" }), 0x88);
    const who = { username: "alice", password: Buffer.from("hers") };
    await using alice = await HandClient.connected(addressOf(plain), connectPacket("a", 5, who));
    await alice.ping();
    assert.equal(auditOf(server).findLast(({ kind }) => kind === "connected")?.identity, "alice@example.org");
    assert.match(
      auditOf(server)
        .map(({ detail }) => detail)
        .join(),
      /the hook cannot be asked: it answered 302/,
    );
    assert.deepEqual(JSON.parse(store.questions.at(-1) ?? ""), {
      clientId: "a",
      username: "alice",
      password: "hers",
      certificate: null,
      peer: { address: "127.0.0.1", listener: "insecure" },
    });
  });

  it("a user store that answers nonsense, too much or nothing lets nobody in; one that sets an end ends the connection", async () => {
    using directory = scratch();
    using store = await userStore((question) => {
      if (question.includes("until"))
        return { result: "allow", until: new Date(Date.now() + 1_500).toISOString() };
      if (question.includes("much")) return { result: "allow", groups: ["x".repeat(100_000)] };
      if (question.includes("device")) return { result: "allow", name: "first-device" };
      if (question.includes("wildcard")) return { result: "allow", name: "#" };
      return question.includes("typo") ? { result: "alow" } : { allow: true };
    });
    const config = `${tlsAndInsecure}authentication: { hook: { url: "${store.url}" } }\n`;
    await using server = await up(configured(directory.path, config));
    const [, plain = ""] = server.urls;
    for (const username of ["much", "typo", "other", "wildcard"])
      assert.equal(await codeOf(plain, { username, password: "x" }), 0x88, username);
    assert.equal(await codeOf(plain, { username: "device", password: "x" }), 0x86);
    const who = { username: "until", password: Buffer.from("x") };
    await using client = await HandClient.connected(addressOf(plain), connectPacket("u", 5, who));
    assert.equal((await client.take("disconnect")).reasonCode, 0x87);
  });

  it("addresses where clouds keep credentials are refused at the start, and so are broken key files and other URLs than https", async () => {
    using directory = scratch();
    writeFileSync(join(directory.path, "none.json"), "{}");
    for (const [text, problem] of [
      [
        'authentication: { hook: { url: "https://169.254.169.254/" } }',
        /169\.254\.169\.254 is an address that is never asked/,
      ],
      [
        "authentication: { issuers: [{ issuer: i, audiences: [a], keys: none.json }] }",
        /token keys in none\.json: it has no list "keys"/,
      ],
      [
        'authentication: { issuers: [{ issuer: i, audiences: [a], keys: "file:///etc/passwd" }] }',
        /authentication\.issuers\[0\]\.keys must be an https:\/\/ URL/,
      ],
    ] as const) {
      const { code, stderr } = await command([
        "up",
        ...configured(directory.path, `${tlsAndInsecure}${text}\n`),
      ]);
      assert.notEqual(code, 0, text);
      assert.match(stderr, problem);
    }
  });
});

describe("attack 79: an audit log that was tampered with", () => {
  it("shows which event was changed or taken out, and that the end was cut off while the server runs", async () => {
    using directory = scratch();
    await using server = await up(configured(directory.path, tlsAndInsecure));
    const [, plain = ""] = server.urls;
    for (let index = 0; index < 4; index += 1)
      await codeOf(plain, { username: `burglar-${index}`, password: "x" });
    const verify = (...more: string[]) => command(["log", "verify", "--data", server.data, ...more]);
    const honest = await verify();
    assert.equal(honest.code, 0, honest.stdout);
    assert.match(honest.stdout, /^intact: \d+ events in 1 file/);
    const [, head = ""] = /^head ([0-9a-f]{64})$/m.exec(honest.stdout) ?? [];

    const path = join(server.data, "audit", "audit.jsonl");
    const lines = readFileSync(path, "utf8").trimEnd().split("\n");
    const at = lines.findIndex((line) => line.includes("burglar-1"));
    const tampered: readonly (readonly [readonly string[], number])[] = [
      [lines.with(at, (lines[at] ?? "").replace("burglar-1", "innocent1")), at + 2],
      [lines.toSpliced(at, 1), at + 1],
      [lines.slice(0, -1), lines.length - 1],
      [[], 0],
    ];
    for (const [changed, line] of tampered) {
      writeFileSync(path, changed.map((text) => `${text}\n`).join(""));
      const { code, stdout } = await verify();
      assert.equal(code, 1, stdout);
      assert.match(stdout, new RegExp(`^BROKEN[^]*audit\\.jsonl:${line} `));
    }
    writeFileSync(path, lines.map((text) => `${text}\n`).join(""));
    assert.equal((await verify()).code, 0);

    server.process.signal("SIGTERM");
    await server.process.ended;
    const json = await verify("--json", "--anchor", head);
    assert.equal(json.code, 0);
    assert.equal(JSON.parse(json.stdout).intact, true);
    writeFileSync(path, `${lines.slice(0, at).join("\n")}\n`);
    assert.equal((await verify()).code, 0);
    const anchored = await verify("--anchor", head);
    assert.equal(anchored.code, 1);
    assert.match(anchored.stdout, /no event has the hash of the anchor/);
    assert.equal((await verify("--anchor", "x")).code, 2);
  });
});
