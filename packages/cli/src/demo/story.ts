import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { Act } from "./narrator.ts";
import { knockPort, servicePort, type Stage } from "./stage.ts";

/** Seconds that a knock opens the port for, in the story: it waits for one window to close. */
export const windowSeconds = 4;
/** Invalid knocks that one source may send; one more locks it out. */
export const invalidMax = 5;

type Scene = { readonly title: string; play(stage: Stage): Promise<Omit<Act, "title" | "ms">> };

const statusTopic = "devices/client-1/status";
const dataTopic = "devices/client-1/temperature";

/** What a scan says of the hidden port: open, filtered (no answer at all), closed. */
async function scan(
  stage: Stage,
  from: string,
): Promise<{ readonly state: string; readonly line: string; readonly command: string }> {
  const target = stage.host("server").ipv4;
  const args = ["-n", "-Pn", "--max-retries", "1", "-p", String(servicePort), target];
  const { stdout } = await stage.host(from).run("nmap", args);
  const [line = "nmap says nothing of the port", state = ""] = /^\d+\/tcp +(\w+).*$/m.exec(stdout) ?? [];
  return { state, line, command: `nmap ${args.join(" ")}` };
}

function knockCommand(stage: Stage, device: string): string[] {
  return ["knock", "--bundle", stage.bundle(device)];
}

/** As one types it, without the folder of a demonstration that is gone a minute later. */
function shown(stage: Stage, args: readonly string[]): string {
  return `postern ${args.map((arg) => arg.replace(`${stage.data}/`, "")).join(" ")}`;
}

/** The lines that a person wants to see. */
function lines(text: string): string[] {
  return text
    .trim()
    .split("\n")
    .filter((line) => line !== "");
}

async function bans(stage: Stage): Promise<string> {
  return (await stage.run("server", ["ban", "list", "--data", stage.data, "--json"])).stdout;
}

/** Datagrams of random bytes, as long as a knock. */
async function badKnocks(stage: Stage, count: number): Promise<void> {
  const target = `/dev/udp/${stage.host("server").ipv4}/${knockPort}`;
  const script = `for i in $(seq ${count}); do head -c 84 /dev/urandom > ${target}; done`;
  await stage.host("stranger").run("bash", ["-c", script]);
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** The story of section 3.8 of the thesis, with real programs. Its scenes follow from each other. */
export async function* tell(stage: Stage, signal: AbortSignal): AsyncGenerator<Act> {
  for (const scene of scenes()) {
    if (signal.aborted) return;
    const begin = performance.now();
    const { ok, seen, ...act } = await scene.play(stage).catch((thrown: unknown) => ({
      ok: false,
      seen: [thrown instanceof Error ? thrown.message : String(thrown)],
    }));
    yield { title: scene.title, ...act, ok, seen, ms: performance.now() - begin };
  }
}

/** The capture of a knock. */
function overheard(stage: Stage): string {
  return join(stage.data, "..", "overheard.pcap");
}

function scenes(): Scene[] {
  /** Runs from one scene to the next: the subscriber on client 2, the device on client 1, what was overheard. */
  const running: { subscriber?: ReturnType<Stage["start"]>; device?: ReturnType<Stage["start"]> } = {};
  return [
    {
      title: "Nobody sees the server's port: nmap gets no answer, neither from a client nor from a stranger",
      async play(stage) {
        const [client, stranger] = await Promise.all([scan(stage, "client-1"), scan(stage, "stranger")]);
        return {
          command: client.command,
          seen: [`client 1: ${client.line}`, `stranger: ${stranger.line}`],
          ok: client.state === "filtered" && stranger.state === "filtered",
        };
      },
    },
    {
      title: "Client 1 knocks: one packet of 84 bytes, and there is no answer",
      async play(stage) {
        const listening = stage
          .host("server")
          .start("tcpdump", [
            "-i",
            "eth0",
            "-n",
            "--immediate-mode",
            "-U",
            "-w",
            overheard(stage),
            "udp",
            "port",
            String(knockPort),
          ]);
        await listening.until(/listening on/);
        const args = knockCommand(stage, "client-1");
        const { code, stdout, stderr } = await stage.run("client-1", args);
        await pause(200);
        listening.child.kill("SIGTERM");
        const { stderr: counted } = await listening.ended;
        const [packets = "nothing captured"] = /^\d+ packets? captured$/m.exec(counted) ?? [];
        return {
          command: shown(stage, args),
          seen: [...lines(stdout + stderr), `on the wire: ${packets}`],
          ok: code === 0 && packets === "1 packet captured",
        };
      },
    },
    {
      title: "Now client 1 sees the port open; the stranger still sees nothing",
      async play(stage) {
        const [client, stranger] = await Promise.all([scan(stage, "client-1"), scan(stage, "stranger")]);
        return {
          command: client.command,
          seen: [`client 1: ${client.line}`, `stranger: ${stranger.line}`],
          ok: client.state === "open" && stranger.state === "filtered",
        };
      },
    },
    {
      title: "Client 2 subscribes over TLS with QoS 1: sub knocks by itself",
      async play(stage) {
        const args = [
          "sub",
          "devices/client-1/#",
          "--qos",
          "1",
          "--bundle",
          stage.bundle("client-2"),
          "--verbose",
        ];
        running.subscriber = stage.start("client-2", args);
        const [line] = await running.subscriber.until(/^.*subscribed.*$/im);
        return { command: shown(stage, args), seen: [line], ok: true };
      },
    },
    {
      title: `Client 1 says "online", retained, and leaves the will "offline"`,
      async play(stage) {
        const bundle = stage.bundle("client-1");
        const publish = ["pub", statusTopic, "online", "--retain", "--qos", "1", "--bundle", bundle];
        const { code, stderr } = await stage.run("client-1", publish);
        if (code !== 0) return { seen: lines(stderr), ok: false };
        const will = [
          "--will-topic",
          statusTopic,
          "--will-message",
          "offline",
          "--will-retain",
          "--will-qos",
          "1",
        ];
        running.device = stage.start("client-1", [
          "sub",
          "devices/client-1/commands",
          ...will,
          "--bundle",
          bundle,
          "--verbose",
        ]);
        await running.device.until(/subscribed/i);
        await running.subscriber?.until(/online/);
        return { command: shown(stage, publish), seen: ["client 2 receives: online"], ok: true };
      },
    },
    {
      title: "Client 1 publishes with QoS 2 over TLS, and client 2 receives it once",
      async play(stage) {
        const args = ["pub", dataTopic, "21.5", "--qos", "2", "--bundle", stage.bundle("client-1")];
        const { code, stderr } = await stage.run("client-1", args);
        await running.subscriber?.until(/21\.5/);
        const count = running.subscriber?.stdout.match(/21\.5/g)?.length ?? 0;
        return {
          command: shown(stage, args),
          seen: [...lines(stderr), `client 2 receives it ${count} time`],
          ok: code === 0 && count === 1,
        };
      },
    },
    {
      title: "The window closes, and the session lives on",
      async play(stage) {
        await pause(1_000 * windowSeconds + 500);
        const { state, line, command } = await scan(stage, "client-2");
        const args = ["pub", dataTopic, "22.0", "--bundle", stage.bundle("client-1")];
        await stage.run("client-1", args);
        await running.subscriber?.until(/22\.0/);
        return { command, seen: [`client 2: ${line}`, "client 2 receives: 22.0"], ok: state === "filtered" };
      },
    },
    {
      title: "Whoever overheard a knock and sends it again opens nothing",
      async play(stage) {
        const packet = lastPayload(readFileSync(overheard(stage)));
        const target = `/dev/udp/${stage.host("server").ipv4}/${knockPort}`;
        const file = join(stage.data, "..", "overheard.bin");
        writeFileSync(file, packet);
        await stage.host("stranger").run("bash", ["-c", `cat ${file} > ${target}`]);
        const { state, line } = await scan(stage, "stranger");
        return {
          seen: [`${packet.length} bytes sent again by the stranger`, `stranger: ${line}`],
          ok: packet.length === 84 && state === "filtered",
        };
      },
    },
    {
      title: `The stranger guesses: after ${invalidMax} bad knocks it is still only refused, the next one locks it out`,
      async play(stage) {
        // The packet it sent again was the first.
        await badKnocks(stage, invalidMax - 1);
        await pause(200);
        const before = await bans(stage);
        await badKnocks(stage, 1);
        const { ipv4 } = stage.host("stranger");
        let after = await bans(stage);
        for (let tries = 0; tries < 10 && !after.includes(ipv4); tries++) {
          await pause(200);
          after = await bans(stage);
        }
        return {
          command: "postern ban list --json",
          seen: [
            `after ${invalidMax}: ${before.includes(ipv4) ? "locked out" : "not locked out"}`,
            ...lines(after),
          ],
          ok: !before.includes(ipv4) && after.includes(ipv4),
        };
      },
    },
    {
      title: "Client 1 vanishes, and client 2 is told its last will",
      async play() {
        running.device?.child.kill("SIGKILL");
        await running.subscriber?.until(/offline/);
        return { seen: ["client 2 receives: offline"], ok: true };
      },
    },
    {
      title: "What the gate says of it all",
      async play(stage) {
        const args = ["gate", "status", "--data", stage.data];
        const { code, stdout, stderr } = await stage.run("server", args);
        return { command: shown(stage, args), seen: lines(stdout + stderr), ok: code === 0 };
      },
    },
  ];
}

const pcapHeaderBytes = 24;
const recordHeaderBytes = 16;

/** The UDP payload of the last packet in a capture: behind Ethernet, an IPv4 header and that of UDP. */
function lastPayload(capture: Buffer): Buffer {
  let last: Buffer = Buffer.alloc(0);
  for (let at = pcapHeaderBytes; at + recordHeaderBytes <= capture.length;) {
    const length = capture.readUInt32LE(at + 8);
    last = capture.subarray(at + recordHeaderBytes + 14 + 20 + 8, at + recordHeaderBytes + length);
    at += recordHeaderBytes + length;
  }
  return last;
}
