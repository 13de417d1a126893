import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { createNetwork, type Host } from "@postern/gate/hosts/hosts";
import { hostsRefused } from "@postern/gate/hosts/namespaces";

import { temporaryDirectory } from "@postern/gate/testing/test-gate";

import { bin, compileCache } from "./support/postern.ts";

const refused = await hostsRefused();

/** What comes of a connection. */
async function dial(host: Host, address: string, port: number): Promise<"connected" | "refused" | "nothing"> {
  const { code } = await host.run("timeout", ["0.4", "bash", "-c", `exec 3<>/dev/tcp/${address}/${port}`]);
  return code === 0 ? "connected" : code === 124 ? "nothing" : "refused";
}

const listener = `for (const port of [22, 8883, 9000]) require("net").createServer((s) => s.pipe(s).on("error", () => {})).listen(port, () => console.log("listening"))`;

async function postern(host: Host, ...args: string[]): ReturnType<Host["run"]> {
  return host.run(process.execPath, [bin, ...args], {
    env: { SSH_CONNECTION: "", NODE_COMPILE_CACHE: compileCache },
  });
}

const plan = {
  hosts: {
    server: { ipv4: "192.168.1.126/24", ipv6: "fd01::126/64" },
    client: { ipv4: "192.168.1.6/24", ipv6: "fd01::6/64" },
    stranger: { ipv4: "192.168.1.66/24", ipv6: "fd01::66/64" },
  },
};

describe("postern lockdown", refused === undefined ? {} : { skip: refused }, () => {
  it("shows the rules, and changes nothing until somebody agrees", async () => {
    await using network = await createNetwork(plan);
    const server = network.host("server");
    const shown = await postern(server, "lockdown", "show", "--service", "8883", "--in", "tcp/22");
    assert.equal(shown.code, 0, shown.stderr);
    assert.match(shown.stdout, /^\t\ttcp dport 22 accept comment "listed"$/m);
    const asked = await postern(server, "lockdown", "apply", "--service", "8883");
    assert.equal(asked.code, 2);
    assert.match(asked.stderr, /say --yes/);
    assert.equal((await postern(server, "lockdown", "status")).stdout, "No rules are in force.\n");
    const early = await postern(server, "lockdown", "confirm");
    assert.equal(early.code, 1);
    assert.match(early.stderr, /no profile was applied/);
    // What it shows is a file that nft takes.
    const loaded = await server.run("nft", ["-f", "-"], { input: shown.stdout });
    assert.equal(loaded.code, 0, loaded.stderr);
    assert.equal(
      (await postern(server, "lockdown", "status")).stdout,
      "The rules are in force, and confirmed.\n",
    );
  });

  it("drops all but its services and what is listed, for listed peers only, and keeps established connections", async () => {
    await using network = await createNetwork(plan);
    const [server, client, stranger] = ["server", "client", "stranger"].map((name) => network.host(name));
    assert.ok(server !== undefined && client !== undefined && stranger !== undefined);
    await using listening = server.start(process.execPath, ["-e", listener]);
    await listening.until(/(listening\n){3}/);
    const long = client.start(process.execPath, [
      "-e",
      `const s = require("net").connect(22, "192.168.1.126"); s.pipe(process.stdout); let n = 0; setInterval(() => s.write("tick" + n++ + " "), 50)`,
    ]);
    const args = [
      "--service",
      "8883",
      "--client",
      "192.168.1.6",
      "--client",
      "fd01::6",
      "--in",
      "tcp/22@192.168.1.0/24",
      "--yes",
    ];
    const { code, stdout, stderr } = await postern(server, "lockdown", "apply", ...args);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /In force for 60 seconds/);
    assert.match(stderr, /no gate is in force here/);
    for (const address of ["192.168.1.126", "fd01::126"]) {
      assert.equal(await dial(client, address, 8883), "connected");
      assert.equal(await dial(stranger, address, 8883), "nothing");
      assert.equal(await dial(client, address, 9000), "nothing");
      assert.equal(await dial(client, address, 1), "nothing");
    }
    assert.equal(await dial(stranger, "192.168.1.126", 22), "connected");
    // Not even ICMP goes out, and nothing else that is not listed.
    assert.equal(await dial(server, "192.168.1.6", 80), "nothing");
    assert.equal(await dial(server, "127.0.0.1", 9000), "connected");
    const before = /tick(\d+) $/.exec(long.stdout)?.[1];
    await long.until(new RegExp(`tick${Number(before) + 5} `));
    const { kind } = JSON.parse((await postern(server, "lockdown", "status", "--json")).stdout);
    assert.equal(kind, "trial");
    assert.equal((await postern(server, "lockdown", "confirm")).code, 0);
    assert.equal(
      (await postern(server, "lockdown", "status")).stdout,
      "The rules are in force, and confirmed.\n",
    );
    const again = await postern(server, "lockdown", "apply", ...args, "--in", "tcp/9000");
    assert.match(
      again.stdout,
      /Otherwise the kernel puts the rules in force again that were confirmed before/,
    );
    assert.equal(await dial(stranger, "192.168.1.126", 9000), "connected");
    assert.match(
      (await postern(server, "lockdown", "status")).stdout,
      /then those that were confirmed before are again/,
    );
    assert.equal((await postern(server, "lockdown", "remove")).code, 0);
    assert.equal(await dial(stranger, "192.168.1.126", 9000), "connected");
  });

  it("is there again after a restart of the machine once it was saved, by the unit it prints", async () => {
    await using network = await createNetwork(plan);
    using directory = temporaryDirectory();
    const server = network.host("server");
    const file = join(directory.path, "etc", "rules.nft");
    const early = await postern(server, "lockdown", "save", "--file", file);
    assert.equal(early.code, 1);
    assert.match(early.stderr, /no profile was applied/);
    const args = ["--service", "8883", "--in", "tcp/22@192.168.1.0/24", "--yes"];
    assert.equal((await postern(server, "lockdown", "apply", ...args)).code, 0);
    assert.match((await postern(server, "lockdown", "save", "--file", file)).stderr, /only tried/);
    assert.equal((await postern(server, "lockdown", "confirm")).code, 0);
    const rules = async (): Promise<string> =>
      (await server.run("nft", ["list", "table", "inet", "postern_host"])).stdout;
    const before = await rules();
    const saved = await postern(server, "lockdown", "save", "--file", file);
    assert.equal(saved.code, 0, saved.stderr);
    assert.match(saved.stdout, /lockdown unit --file .* > \/etc\/systemd\/system\/postern-firewall\.service/);
    const unit = await postern(server, "lockdown", "unit", "--file", file);
    assert.equal(unit.code, 0, unit.stderr);
    const [, command = ""] = /^ExecStart=(.*)$/m.exec(unit.stdout) ?? [];
    // A machine that starts has no rules; what it has may begin with this.
    await server.run("nft", ["flush", "ruleset"]);
    assert.equal((await server.run("bash", ["-c", command])).code, 0);
    assert.equal(await rules(), before);
    const status = await postern(server, "agent", "status");
    assert.equal(status.stdout, "The rules are in force, and confirmed.\n");
  });

  it("lets the SSH connection in by which it was asked for", async () => {
    await using network = await createNetwork(plan);
    const server = network.host("server");
    const env = { SSH_CONNECTION: "192.168.1.6 50000 192.168.1.126 2222" };
    const args = [bin, "lockdown", "show", "--service", "8883"];
    const { stdout } = await server.run(process.execPath, args, { env });
    assert.match(
      stdout,
      /^\t\tip saddr 192\.168\.1\.6 tcp dport 2222 accept comment "your SSH connection"$/m,
    );
    // As under sudo: a shell above has it.
    const nested = `unset SSH_CONNECTION; "$0" "$@"; true`;
    const { stdout: found } = await server.run("bash", ["-c", nested, process.execPath, ...args], { env });
    assert.match(found, /your SSH connection/);
    const { stdout: without } = await server.run(process.execPath, [...args, "--no-ssh"], { env });
    assert.doesNotMatch(without, /SSH/);
  });
});

describe("postern agent", refused === undefined ? {} : { skip: refused }, () => {
  it("hides a device, and lets it talk to its servers only", async () => {
    await using network = await createNetwork(plan);
    const [server, device, stranger] = ["server", "client", "stranger"].map((name) => network.host(name));
    assert.ok(server !== undefined && device !== undefined && stranger !== undefined);
    const running = [server, device, stranger].map((host) => host.start(process.execPath, ["-e", listener]));
    for (const each of running) await each.until(/(listening\n){3}/);
    const args = ["--server", "192.168.1.126:8883", "--server", "[fd01::126]:8883", "--yes"];
    const { code, stderr } = await postern(device, "agent", "apply", ...args);
    assert.equal(code, 0, stderr);
    for (const address of ["192.168.1.126", "fd01::126"]) {
      assert.equal(await dial(device, address, 8883), "connected");
      assert.equal(await dial(device, address, 22), "nothing");
    }
    assert.equal(await dial(device, "192.168.1.66", 8883), "nothing");
    for (const address of ["192.168.1.6", "fd01::6"]) {
      assert.equal(await dial(stranger, address, 22), "nothing");
      assert.equal(await dial(server, address, 1), "nothing");
    }
    const send = async (port: number): Promise<number | null> =>
      (await device.run("bash", ["-c", `echo x > /dev/udp/192.168.1.126/${port}`])).code;
    assert.equal(await send(62_201), 0);
    assert.equal(await send(53), 1);
  });

  it("lets a device renew the certificate in its bundle", async () => {
    using directory = temporaryDirectory();
    await using network = await createNetwork(plan);
    const device = network.host("client");
    const bundle = join(directory.path, "pump.json");
    const ca = "-----BEGIN CERTIFICATE-----\n…";
    const servers = [{ url: "mqtts://192.168.1.126:8883" }];
    const est = [{ url: "https://192.168.1.127:8885" }, { url: "https://192.168.1.128" }];
    writeFileSync(bundle, JSON.stringify({ postern: 1, device: "pump", servers, est, ca, password: "x" }));
    const { code, stdout, stderr } = await postern(device, "agent", "show", "--bundle", bundle);
    assert.equal(code, 0, stderr);
    for (const rule of [
      'ip daddr 192.168.1.126 tcp dport 8883 accept comment "server"',
      'ip daddr 192.168.1.127 udp dport 62201 accept comment "knock"',
      'ip daddr 192.168.1.127 tcp dport 8885 accept comment "enrolment server"',
      'ip daddr 192.168.1.128 tcp dport 443 accept comment "enrolment server"',
    ])
      assert.ok(stdout.includes(`\t\t${rule}\n`), stdout);
  });
});
