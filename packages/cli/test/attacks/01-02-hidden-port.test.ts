import assert from "node:assert/strict";
import { after, describe, it } from "node:test";

import { hostsRefused } from "@postern/gate/hosts/namespaces";

import type { Stage } from "../../src/demo/stage.ts";
import {
  answersSeen,
  dial,
  gateStage,
  knockPacket,
  knockPort,
  opens,
  send,
  servicePort,
} from "../support/gate-stage.ts";

const refused = await hostsRefused();
const options = refused === undefined ? {} : { skip: refused };

/** One for both: nothing of the first matters to the second. */
const shared = refused === undefined ? await gateStage() : undefined;
after(() => shared?.[Symbol.asyncDispose]());

function theStage(): Stage {
  assert.ok(shared);
  return shared;
}

describe("attack 01: TCP connect without a knock", options, () => {
  it("is answered by nothing: no SYN-ACK, no RST, no ICMP, in both families; a device that knocks gets in", async () => {
    const stage = theStage();
    const stranger = stage.host("stranger");
    const seen = await answersSeen(stage, stranger, async () => {
      for (const to of ["192.168.1.126", "fd01::126"]) assert.equal(await dial(stranger, to), "nothing", to);
      // Stealth scans: segments that no connection has.
      for (const scan of ["-sA", "-sF", "-sX", "-sN", "-sM"]) {
        const { code } = await stranger.run("nmap", [
          "-n",
          "-Pn",
          scan,
          "--max-retries",
          "0",
          "-p",
          `${servicePort}`,
          "192.168.1.126",
        ]);
        assert.equal(code, 0);
      }
    });
    assert.deepEqual(seen, []);
    const client = stage.host("client-1");
    assert.equal((await stage.run("client-1", ["knock", "--bundle", stage.bundle("client-1")])).code, 0);
    await opens(client, "192.168.1.126");
    assert.equal(await dial(stranger, "192.168.1.126"), "nothing");
  });
});

describe("attack 02: scan of all the host", options, () => {
  it("finds nothing in lockdown, and the knock port never answers: neither nothing, nor junk, nor a valid packet", async () => {
    const stage = theStage();
    const stranger = stage.host("stranger");
    const server = "192.168.1.126";
    const lockdown = await stage.run("server", ["lockdown", "apply", "--data", stage.data, "--yes"]);
    assert.equal(lockdown.code, 0, lockdown.stderr);
    assert.doesNotMatch(lockdown.stderr, /no gate is in force/);
    const seen = await answersSeen(stage, stranger, async () => {
      const fast = ["-n", "-Pn", "--max-retries", "0", "--min-rate", "5000"];
      const tcp = await stranger.run("nmap", [...fast, "-sS", "-p", "1-2000,8080-9000,62201", server]);
      assert.match(tcp.stdout, /All \d+ scanned ports on \S+ are in ignored states|filtered/);
      assert.doesNotMatch(tcp.stdout, /\bopen\b(?!\|)|closed/);
      const udp = await stranger.run("nmap", [
        ...fast,
        "-sU",
        "-p",
        `53,123,161,1900,5683,${knockPort}`,
        server,
      ]);
      assert.doesNotMatch(udp.stdout, /udp +(open +|closed)/);
      for (const payload of [
        Buffer.alloc(0),
        Buffer.from("junk"),
        Buffer.alloc(84),
        knockPacket(stage.bundle("client-1"), stranger.ipv4),
      ]) {
        await send(stranger, { to: server, payload });
      }
    });
    assert.deepEqual(seen, []);
    // It was a valid packet, from the address that it names.
    await opens(stranger, server);
    const refusal = await stage.run("client-2", [
      "pub",
      "x/y",
      "z",
      "--qos",
      "1",
      "--bundle",
      stage.bundle("client-2"),
      "--no-reconnect",
    ]);
    assert.match(refusal.stderr, /Not authorized/, JSON.stringify(refusal));
  });
});
