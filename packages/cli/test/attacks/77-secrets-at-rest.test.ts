import assert from "node:assert/strict";
import { readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { credentialsOf, parseBundle } from "@postern/core/bundle";
import { connectAsync } from "mqtt";

import { configured } from "../support/configurations.ts";
import { command, scratch, up } from "../support/postern.ts";

const config = `
listeners:
  - url: mqtts://127.0.0.1:0
  - url: mqtts://127.0.0.1:0
    name: psk
    psk: true
log: { level: trace }
metrics: { url: off }
est: { url: off }
`;

interface Found {
  readonly path: string;
  readonly mode: number;
  readonly isDirectory: boolean;
}

function everything(directory: string): Found[] {
  return ["", ...readdirSync(directory, { recursive: true, encoding: "utf8" })].map((name) => {
    const status = statSync(join(directory, name));
    return { path: join(directory, name), mode: status.mode & 0o777, isDirectory: status.isDirectory() };
  });
}

/** The private part of a PEM key, which must not be found anywhere else. */
function bodyOf(pem: string): string {
  return pem.split("\n").slice(1, 3).join("");
}

describe("attack 77: secrets are read from files, logs, arguments and the environment", () => {
  it("finds everything for its owner alone, and no secret outside of the files that are for it", async () => {
    using directory = scratch();
    const args = configured(directory.path, config);
    const passwordFile = join(directory.path, "password");
    const chosen = "correct-horse-battery-staple";
    writeFileSync(passwordFile, `${chosen}\n`, { mode: 0o600 });
    await using server = await up(args);
    const output: string[] = [];
    const run = async (...words: string[]): Promise<void> => {
      const { code, stdout, stderr } = await command([...words, ...args]);
      assert.equal(code, 0, stderr);
      output.push(stdout, stderr);
    };
    await run("device", "add", "certificate", "--json");
    await run("device", "add", "password", "--auth", "password");
    await run("device", "add", "chosen", "--auth", "password", "--password-file", passwordFile);
    await run("device", "add", "token", "--auth", "token");
    await run("device", "add", "meter", "--auth", "psk");
    await run("device", "rotate", "password", "--now");
    await run("device", "list", "--json");
    await run("device", "show", "chosen", "--json");
    await run("config", "show");

    const bundles = join(server.data, "bundles");
    const secrets: string[] = [];
    for (const name of readdirSync(bundles)) {
      const bundle = parseBundle(readFileSync(join(bundles, name), "utf8"), name);
      for (const credential of credentialsOf(bundle)) {
        if (credential.kind === "certificate") secrets.push(bodyOf(credential.key ?? ""));
        else if (credential.kind === "psk") secrets.push(Buffer.from(credential.key).toString("base64"));
        else secrets.push(credential.kind === "token" ? credential.token : credential.password);
      }
      // Each is used, so that it passes through all that could write it down.
      const [credential] = credentialsOf(bundle);
      if (credential?.kind === "psk") continue;
      const proof =
        credential?.kind === "certificate"
          ? { cert: credential.certificate, key: credential.key ?? "" }
          : {
              username: bundle.device,
              password: credential?.kind === "token" ? credential.token : (credential?.password ?? ""),
            };
      const client = await connectAsync(server.urls[0] ?? "", {
        ca: bundle.ca,
        protocolVersion: 5,
        reconnectPeriod: 0,
        ...proof,
      });
      await client.endAsync();
      await assert.rejects(
        connectAsync(server.urls[0] ?? "", {
          ca: bundle.ca,
          reconnectPeriod: 0,
          protocolVersion: 5,
          username: bundle.device,
          password: "S3CRET-but-wrong",
        }),
      );
    }
    assert.ok(secrets.length === 6 && secrets.includes(chosen));
    const keys = ["root.key", "issuing.key"].map((name) =>
      bodyOf(readFileSync(join(server.data, "pki", name), "utf8")),
    );
    const searched = [...secrets, ...keys, "S3CRET-but-wrong", "$argon2id$"];

    const pid = String(server.process.child.pid);
    const places = new Map([
      ["the output of commands", output.join("\n")],
      ["the server's log", server.process.stdout + server.process.stderr],
      ["the audit log", readFileSync(join(server.data, "audit", "audit.jsonl"), "utf8")],
      ["the server's arguments", readFileSync(`/proc/${pid}/cmdline`, "utf8")],
      ["the server's environment", readFileSync(`/proc/${pid}/environ`, "utf8")],
    ]);
    for (const [place, text] of places)
      for (const secret of searched) assert.ok(!text.replaceAll("\n", "").includes(secret), place);

    const registry = readFileSync(join(server.data, "pki", "devices.jsonl"), "utf8");
    for (const secret of secrets.filter((text) => !registry.includes(`"key":"${text}"`)))
      assert.ok(
        !registry.includes(secret),
        "the registry keeps what passwords are checked with, not passwords",
      );

    // CVE-2017-9868: the persistence file was for everybody to read.
    const open = everything(server.data).filter(({ mode }) => (mode & 0o077) !== 0);
    assert.deepEqual(open, []);
    assert.ok(everything(join(server.data, "state")).some(({ isDirectory }) => !isDirectory));
  });
});
