import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { run as main } from "../src/main.ts";
import { fakeContext } from "../src/testing.ts";
import { configured } from "./support/configurations.ts";
import { PosternProcess, scratch, up, type Scratch, type TestServer } from "./support/postern.ts";
import { skipWithout } from "./support/programs.ts";
import { run } from "./support/run.ts";

const config = `
listeners:
  - url: mqtts://127.0.0.1:0
    name: certificates
  - url: mqtts://127.0.0.1:0
    name: keys
    psk: true
metrics: { url: off }
est: { url: off }
`;

let directory: Scratch;
let server: TestServer;

before(async () => {
  directory = scratch();
  server = await up(configured(directory.path, config));
  for (const auth of ["password", "token", "psk", "certificate"]) {
    const context = fakeContext({ cwd: directory.path });
    const args = ["device", "add", `by-${auth}`, "--auth", auth, "--role", "administrator"];
    assert.equal(await main([...args, "--data", server.data], context), 0, context.err());
  }
});

after(async () => {
  await server[Symbol.asyncDispose]();
  directory[Symbol.dispose]();
});

const bundleOf = (device: string): string => join(server.data, "bundles", `${device}.json`);

async function tunnel(device: string): Promise<{ readonly process: PosternProcess; readonly port: string }> {
  const process = new PosternProcess(["tunnel", "--bundle", bundleOf(device), "--listen", "127.0.0.1:0"]);
  const [, port = ""] = await process.until(/127\.0\.0\.1:(\d+) leads to/);
  return { process, port };
}

function publish(port: string, ...more: readonly string[]): ReturnType<typeof run> {
  const what = ["-q", "1", "-t", "tunnel/x", "-m", "through"];
  return run("mosquitto_pub", ["-h", "127.0.0.1", "-p", port, ...what, ...more]);
}

describe("a tunnel", { skip: skipWithout("mosquitto_pub") }, () => {
  for (const auth of ["certificate", "psk", "password", "token"]) {
    it(`lets programs in that know nothing, with a bundle that holds a ${auth}`, async () => {
      const { process, port } = await tunnel(`by-${auth}`);
      await using _ = process;
      for (const version of ["5", "311"]) {
        const { code, text } = await publish(port, "-V", version);
        assert.equal(code, 0, text + process.stderr);
      }
      assert.equal(process.stderr, "");
      assert.equal(
        /get the bundle's user name/.test(process.stdout),
        auth === "password" || auth === "token",
      );
    });
  }

  it("passes on what a program gives itself, for the server to judge", async () => {
    const { process, port } = await tunnel("by-password");
    await using _ = process;
    const { code, text } = await publish(port, "-V", "5", "-u", "by-password", "-P", "a guess");
    assert.notEqual(code, 0);
    assert.match(text, /not authori[sz]ed|Bad User Name|bad user/i);
  });

  it("says why the server cannot be reached, and stays for the next program", async () => {
    const file = join(directory.path, "astray.json");
    const bundle = JSON.parse(readFileSync(bundleOf("by-password"), "utf8"));
    const good = bundle.servers;
    writeFileSync(file, JSON.stringify({ ...bundle, servers: [{ url: "mqtts://127.0.0.1:1" }] }), {
      mode: 0o600,
    });
    await using process = new PosternProcess(["tunnel", "--bundle", file, "--listen", "127.0.0.1:0"]);
    const [, port = ""] = await process.until(/127\.0\.0\.1:(\d+) leads to/);
    const socket = connect(Number(port), "127.0.0.1");
    await new Promise((resolve) => socket.on("error", () => undefined).on("close", resolve));
    await process.until(/mqtts:\/\/127\.0\.0\.1:1: .*ECONNREFUSED/);
    // A bundle that changes is taken as it is; an address that does not answer is followed by the next.
    const servers = [{ url: "mqtts://127.0.0.1:1" }, ...good];
    writeFileSync(file, JSON.stringify({ ...bundle, servers }), { mode: 0o600 });
    const { code, text } = await publish(port);
    assert.equal(code, 0, text + process.stderr);
  });
});
