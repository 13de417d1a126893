import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { hostsRefused } from "@postern/gate/hosts/namespaces";

import { hiddenServer, serverAddress } from "./support/hidden-server.ts";

const refused = await hostsRefused();
const url = `https://${serverAddress}:8885`;

describe("an enrolment server behind the gate", refused === undefined ? {} : { skip: refused }, () => {
  it("answers nobody but who holds a token, a claim or a bundle, each of which knocks", async () => {
    await using test = await hiddenServer({ est: url });
    const server = test.network.host("server");
    const { client, stranger } = test;
    const at = (file: string): string => join(test.data, "..", file);
    const dial = async (): Promise<string> => {
      const script = `require("node:net").connect(8885, "${serverAddress}").on("connect", () => { console.log("open"); process.exit(); }).on("error", ({ code }) => { console.log(code); process.exit(); }); setTimeout(() => { console.log("silence"); process.exit(); }, 400);`;
      return (await stranger.run(process.execPath, ["-e", script])).stdout.trim();
    };
    const say = async (host: typeof server, ...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await test.postern(host, ...args);
      assert.equal(code, 0, `${args.join(" ")}: ${stderr}`);
      return stdout;
    };
    assert.equal(await dial(), "silence");
    // While nobody else may enrol from there.
    await say(client, "renew", "--bundle", test.bundleFile, "--now");
    const token = at("boiler-7.token");
    const made = JSON.parse(
      await say(
        server,
        "device",
        "enrol",
        "boiler-7",
        "--role",
        "device",
        "--out",
        token,
        "--json",
        "--data",
        test.data,
      ),
    );
    await test.until(({ devices, ready }) => devices === 2 && ready);
    const bundle = at("boiler-7.json");
    await say(
      client,
      "enrol",
      "--url",
      url,
      "--fingerprint",
      made.fingerprint,
      "--token-file",
      token,
      "--bundle",
      bundle,
    );
    const { knock } = JSON.parse(readFileSync(bundle, "utf8"));
    assert.equal(knock.enrolment, 2);
    assert.equal(await dial(), "silence");
    // The bundle knocks for itself: at the broker, and when it is renewed.
    await say(client, "pub", "--bundle", bundle, "--connect-timeout", "15", "devices/boiler-7/x", "1");
    await say(client, "renew", "--bundle", bundle, "--now");
    assert.deepEqual(JSON.parse(readFileSync(bundle, "utf8")).knock, knock);
    await say(client, "pub", "--bundle", bundle, "--connect-timeout", "15", "devices/boiler-7/x", "2");
    // A claim knocks for all of its devices.
    const claim = at("line.claim");
    const series = ["--prefix", "press-", "--devices", "2", "--role", "device", "--out", claim];
    await say(server, "device", "claim", "line", ...series, "--data", test.data);
    await test.until(({ devices, ready }) => devices >= 3 && ready);
    for (const device of ["press-1", "press-2"])
      await say(client, "enrol", "--claim", claim, "--device", device, "--bundle", at(`${device}.json`));
    // What was taken back is unknown to the gate.
    await say(server, "device", "enrol", "lost", "--out", at("lost.token"), "--data", test.data);
    const { devices } = await test.status();
    await say(server, "device", "enrolments", "cancel", "lost", "--data", test.data);
    await test.until((status) => status.devices === devices - 1);
    assert.equal(await dial(), "silence");
  });
});
