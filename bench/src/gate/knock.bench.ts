/**
 * From a knock to an open port, with 10,000 enrolled devices, idle and under junk packets of invented sources. Needs root.
 * `node knock.bench.ts [DEVICES] [KNOCKS]`
 */
import { mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { createNetwork } from "@postern/gate/hosts/hosts";
import { floodArguments } from "@postern/gate/testing/flood";

import { distribution, figure } from "../support/report.ts";

const [devices = 10_000, knocks = 200] = process.argv.slice(2).map(Number);
const floods = [0, 2_000, 20_000, 50_000];
const serverAddress = "10.9.0.1";
const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

for (const rate of floods) {
  await using network = await createNetwork({
    hosts: {
      server: { ipv4: `${serverAddress}/8` },
      client: { ipv4: "10.9.1.1/8" },
      stranger: { ipv4: "10.9.9.9/8" },
    },
  });
  const directory = mkdtempSync(join(tmpdir(), "postern-bench-"));
  try {
    const gate = network
      .host("server")
      .start(process.execPath, [here("./gate-program.ts"), String(devices), directory]);
    await gate.until(/ready/);
    const client = network.host("client");
    const addresses = Array.from({ length: knocks }, (_, index) => `10.9.2.${index + 1}`).slice(0, 250);
    const added = addresses.map((address) => `address add ${address}/8 dev eth0\n`).join("");
    await client.run("ip", ["-batch", "-"], { input: added });
    const junk =
      rate === 0
        ? undefined
        : network
            .host("stranger")
            .start(process.execPath, floodArguments({ to: serverAddress, port: 62_201, rate, seconds: 600 }));
    // A flood takes a moment to be one.
    if (junk !== undefined) await new Promise((resolve) => setTimeout(resolve, 2_000));
    const began = performance.now();
    const knocker = await client.run(process.execPath, [
      here("./knocker-program.ts"),
      serverAddress,
      ...addresses,
    ]);
    if (knocker.code !== 0) throw new Error(knocker.stderr);
    const lines = knocker.stdout.trim().split("\n");
    const [load = 0] = loadavg();
    const lost = lines.filter((line) => line === "lost").length;
    figure(
      `knock to connection, ${devices} devices, ${rate} junk packets a second asked for`,
      `${distribution(lines.filter((line) => line !== "lost").map(Number))}, ${lost} lost, load ${load.toFixed(1)}`,
    );
    await junk?.[Symbol.asyncDispose]();
    gate.child.kill("SIGTERM");
    const [summary = ""] = /^gate: .*$/m.exec((await gate.ended).stdout) ?? [];
    figure(`  in ${((performance.now() - began) / 1_000).toFixed(0)} s`, summary);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
