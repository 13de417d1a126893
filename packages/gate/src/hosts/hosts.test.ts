import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { HostsError } from "../errors.ts";
import { createNetwork, type Host, type NetworkPlan } from "./hosts.ts";
import { hostsRefused, sweepLeftOvers } from "./namespaces.ts";

const refused = await hostsRefused();

const plan: NetworkPlan = {
  hosts: {
    server: { ipv4: "192.168.1.126/24", ipv6: "fd01::126/64" },
    client: { ipv4: "192.168.1.6/24", ipv6: "fd01::6/64" },
  },
};

function namespacesOf(pid: number): string[] {
  const { stdout } = spawnSync("ip", ["netns", "list"], { encoding: "utf8" });
  return stdout.split("\n").filter((line) => line.startsWith(`postern-${pid}-`));
}

/** The error of a connection to a port on which nobody listens: a refusal comes from a machine that is there. */
async function whatComesBack(host: Host, address: string): Promise<string> {
  const dial = `require("net").connect(7, "${address}").on("error", ({ code }) => process.stdout.write(code))`;
  return (await host.run(process.execPath, ["-e", dial])).stdout;
}

/** Whether a process runs; one that has ended may wait for somebody to ask how. */
function runs(pid: number): boolean {
  const { stdout } = spawnSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" });
  return stdout.trim() !== "" && !stdout.startsWith("Z");
}

describe("hosts in network namespaces", refused === undefined ? {} : { skip: refused }, () => {
  it("reach each other and nobody else, in both families", async () => {
    await using network = await createNetwork(plan);
    const client = network.host("client");
    const server = network.host("server");
    for (const address of ["192.168.1.126", "fd01::126"]) {
      assert.equal(await whatComesBack(client, address), "ECONNREFUSED");
    }
    const { stdout: routes } = await server.run("ip", ["-br", "address"]);
    assert.match(routes, /^lo .*\neth0@\S+ +UP +192\.168\.1\.126\/24 fd01::126\/64/);
    assert.equal(await whatComesBack(client, "8.8.8.8"), "ENETUNREACH");
  });

  it("stand behind one address where a router translates", async () => {
    await using network = await createNetwork({
      hosts: { server: { ipv4: "192.168.1.126/24" } },
      nat: {
        outside: { ipv4: "192.168.1.50/24" },
        inside: "10.50.0.1/24",
        hosts: { device: { ipv4: "10.50.0.2/24" }, neighbour: { ipv4: "10.50.0.3/24" } },
      },
    });
    const server = network
      .host("server")
      .start(process.execPath, [
        "-e",
        `require("net").createServer((s) => { console.log("from " + s.remoteAddress); s.end(); }).listen(7000, () => console.log("listening"))`,
      ]);
    await server.until(/listening/);
    for (const name of ["device", "neighbour"]) {
      const dial = `require("net").connect(7000, "192.168.1.126").on("close", () => process.exit(0))`;
      assert.equal((await network.host(name).run(process.execPath, ["-e", dial])).code, 0);
    }
    await server.until(/from (::ffff:)?192\.168\.1\.50\nfrom (::ffff:)?192\.168\.1\.50\n/);
  });

  it("are gone with all their programs at the end, also of a network that could not be made", async () => {
    const { child } = await (async () => {
      await using network = await createNetwork(plan);
      assert.equal(namespacesOf(process.pid).length, 3);
      return network.host("server").start("sleep", ["600"]);
    })();
    assert.deepEqual(namespacesOf(process.pid), []);
    assert.equal(child.signalCode, "SIGKILL");
    await assert.rejects(createNetwork({ hosts: { a: { ipv4: "no address" } } }), HostsError);
    assert.deepEqual(namespacesOf(process.pid), []);
  });

  it("are taken away by the next run when a process is killed, its programs at once", async () => {
    const hosts = fileURLToPath(new URL("./hosts.ts", import.meta.url));
    const script = `
      const { createNetwork } = await import(${JSON.stringify(hosts)});
      const network = await createNetwork(${JSON.stringify(plan)});
      const { child } = network.host("server").start("sleep", ["600"]);
      console.log("pid", child.pid);
    `;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [output] = await once(child.stdout, "data");
    const pid = Number(/pid (\d+)/.exec(String(output))?.[1]);
    assert.equal(namespacesOf(child.pid ?? 0).length, 3);
    child.kill("SIGKILL");
    await once(child, "close");
    const swept = await sweepLeftOvers();
    assert.equal(swept.filter((name) => name.startsWith(`postern-${child.pid}-`)).length, 3);
    assert.deepEqual(namespacesOf(child.pid ?? 0), []);
    assert.equal(runs(pid), false);
  });
});
