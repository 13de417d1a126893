import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { hostsRefused } from "@postern/gate/hosts/namespaces";

import { dial, gateStage, opens } from "../support/gate-stage.ts";

const refused = await hostsRefused();

describe(
  "attack 22: a neighbour behind the same address uses the window",
  refused === undefined ? {} : { skip: refused },
  () => {
    it("reaches the port and gets no further, with a certificate or password of a device that did not knock; the device that knocked gets in", async () => {
      await using stage = await gateStage({
        gate: { roaming: true, windowSeconds: 30 },
        network: {
          hosts: { server: { ipv4: "192.168.1.126/24" } },
          nat: {
            outside: { ipv4: "192.168.1.50/24" },
            inside: "10.50.0.1/24",
            hosts: { "client-1": { ipv4: "10.50.0.2/24" }, neighbour: { ipv4: "10.50.0.3/24" } },
          },
        },
        devices: { "client-1": ["device"], "client-2": ["device"] },
      });
      const neighbour = stage.host("neighbour");
      assert.equal(await dial(neighbour, "192.168.1.126"), "nothing");
      const knocked = await stage.run("client-1", ["knock", "--bundle", stage.bundle("client-1")]);
      assert.equal(knocked.code, 0, knocked.stderr);
      // The kernel knows addresses only.
      await opens(neighbour, "192.168.1.126");
      const silent = (device: string): string => {
        const { knock: _, ...rest } = JSON.parse(readFileSync(stage.bundle(device), "utf8"));
        const path = join(stage.data, "..", `silent-${device}.json`);
        writeFileSync(path, JSON.stringify(rest), { mode: 0o600 });
        return path;
      };
      const publish = (host: string, device: string, bundle: string): ReturnType<typeof stage.run> =>
        stage.run(host, [
          "pub",
          `devices/${device}/x`,
          "1",
          "--qos",
          "1",
          "--bundle",
          bundle,
          "--no-reconnect",
          "--connect-timeout",
          "5",
        ]);
      const add = ["device", "add", "client-3", "--auth", "password", "--role", "device"];
      const added = await stage.run("server", [...add, "--data", stage.data]);
      assert.equal(added.code, 0, added.stderr);
      for (const device of ["client-2", "client-3"]) {
        const { code, stderr } = await publish("neighbour", device, silent(device));
        assert.equal(code, 3, `${device}, which did not knock`);
        assert.match(stderr, /Not authorized/);
      }
      const honest = await publish("client-1", "client-1", stage.bundle("client-1"));
      assert.equal(honest.code, 0, honest.stderr);
      // Once the neighbour's device knocks for itself, it is welcome.
      const welcome = await publish("neighbour", "client-2", stage.bundle("client-2"));
      assert.equal(welcome.code, 0, welcome.stderr);
    });
  },
);
