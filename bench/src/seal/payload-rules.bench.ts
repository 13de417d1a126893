/**
 * What payload rules cost the broker: messages of 64 bytes published at QoS 0 to nobody, as fast as the broker takes them, on one
 * connection. The client only writes bytes that were made before. `node payload-rules.bench.ts [MESSAGES]`
 */
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";

import { openBroker } from "@postern/broker/testing/open-broker";
import { publishPacket } from "@postern/broker/testing/packets";
import { PayloadChecker } from "@postern/identity/payloads/payload-checker";
import type { PayloadDemand } from "@postern/identity/payloads/demand";
import { Resealer } from "@postern/identity/payloads/resealer";
import { encodeConnect } from "@postern/mqtt/connect";
import { noProperties } from "@postern/mqtt/packets";
import { seal, type Protection } from "@postern/seal/envelope/seal";
import type { SealMode } from "@postern/seal/envelope/structure";
import { GroupKey } from "@postern/seal/keys/group-key";
import { decryptionKey, recipientKey } from "@postern/seal/keys/recipient";
import { signingKey, verifyingKey } from "@postern/seal/keys/signature";
import { MemorySessionStore } from "@postern/store/memory-session-store";

import { figure } from "../support/report.ts";
import { watchProcessors } from "../support/processor-time.ts";

const [given = 4_000] = process.argv.slice(2).map(Number);
const name = "boiler-7";
const topic = "plant/boiler/temperature";
const epoch = 3;
const instance = randomBytes(8);
const payload = randomBytes(64);
const group = GroupKey.of(randomBytes(32), epoch);
const ed25519 = generateKeyPairSync("ed25519");
const p256 = generateKeyPairSync("ec", { namedCurve: "P-256" });
const x25519 = generateKeyPairSync("x25519");

interface Case {
  readonly title: string;
  /** What the rule demands; `undefined` for no rule on this topic, or for no rules at all. */
  readonly demand: { readonly mode: SealMode; readonly deliver?: "plain" } | "elsewhere" | undefined;
  readonly protection: Protection | undefined;
  readonly messages: number;
}

const cases: readonly Case[] = [
  { title: "no rules at all", demand: undefined, protection: undefined, messages: given * 10 },
  { title: "rules on other topics", demand: "elsewhere", protection: undefined, messages: given * 10 },
  {
    title: "sealed (MAC), rules on other topics",
    demand: "elsewhere",
    protection: { mode: "mac", group },
    messages: given * 5,
  },
  {
    title: "checksum",
    demand: { mode: "checksum" },
    protection: { mode: "checksum" },
    messages: given * 5,
  },
  { title: "MAC", demand: { mode: "mac" }, protection: { mode: "mac", group }, messages: given * 5 },
  {
    title: "encrypted for a group (no key at the broker)",
    demand: { mode: "encrypted" },
    protection: { mode: "encrypted", group },
    messages: given * 5,
  },
  {
    title: "signed, Ed25519",
    demand: { mode: "signed" },
    protection: { mode: "signed", signing: signingKey(ed25519.privateKey) },
    messages: given,
  },
  {
    title: "signed, P-256",
    demand: { mode: "signed" },
    protection: { mode: "signed", signing: signingKey(p256.privateKey) },
    messages: given,
  },
  {
    title: "encrypted to the broker, opened",
    demand: { mode: "encrypted", deliver: "plain" },
    protection: { mode: "encrypted", recipients: [recipientKey(x25519.publicKey)] },
    messages: Math.ceil(given / 2),
  },
];

function rulesOf(demand: Case["demand"]): PayloadChecker | undefined {
  if (demand === undefined) return undefined;
  const checker = new PayloadChecker({
    signers: { of: () => [verifyingKey(ed25519.publicKey), verifyingKey(p256.publicKey)] },
    decryption: decryptionKey(x25519.privateKey),
    resealer: new Resealer(Date.now()),
    tenantOf: () => "default",
    isKnown: () => true,
  });
  const { mode, deliver }: Exclude<Case["demand"], "elsewhere" | undefined> =
    demand === "elsewhere" ? { mode: "signed" } : demand;
  const entry: PayloadDemand = {
    filters: [{ filter: demand === "elsewhere" ? "elsewhere/#" : "plant/#", line: 1 }],
    modes: [mode],
    maxAgeMs: undefined,
    macKeysFile: undefined,
    macKeys: new Map([[epoch, group]]),
    deliver,
    groupKeysFile: undefined,
    groupKeys: undefined,
  };
  checker.use([entry]);
  return checker;
}

function bytesOf({ protection, messages }: Case): Buffer {
  const binding = { tenant: "default", topic, sender: name, epoch };
  const packets = Array.from({ length: messages }, (_, sequence) =>
    publishPacket(5, {
      topic,
      payload:
        protection === undefined ? payload : seal(protection, binding, { instance, sequence }, payload),
    }),
  );
  return Buffer.concat(packets);
}

const connectBytes = encodeConnect({
  protocolVersion: 5,
  cleanStart: true,
  keepAliveSeconds: 600,
  clientId: "bench",
  username: undefined,
  password: undefined,
  will: undefined,
  properties: noProperties,
});

/** Microseconds of this process for each message. */
async function measure(each: Case): Promise<{ readonly cpuUs: number; readonly perSecond: number }> {
  const opened = openBroker({
    store: new MemorySessionStore(),
    limits: { signatureChecksPerSecondPerClientMax: 0, signatureChecksPerSecondTotalMax: 0 },
    ports: {
      payloadRules: rulesOf(each.demand),
      authenticator: {
        authenticate: () => ({ kind: "accepted", identity: { name, anonymous: false }, untilMs: Infinity }),
        exchange: () => undefined,
      },
    },
  });
  const { broker } = opened;
  const { port } = await opened.listen();
  const bytes = bytesOf(each);
  const socket = connect({ host: "127.0.0.1", port });
  await once(socket, "connect");
  socket.write(connectBytes);
  await once(socket, "data");
  const begin = performance.now();
  const cpu = process.cpuUsage();
  socket.write(bytes);
  while (broker.counters().publishReceived < each.messages)
    await new Promise((resolve) => setTimeout(resolve, 5));
  const ms = performance.now() - begin;
  const { user, system } = process.cpuUsage(cpu);
  const { publishRefused } = broker.counters();
  if (publishRefused > 0) throw new Error(`${each.title}: ${publishRefused} messages were refused`);
  socket.destroy();
  await broker.close();
  return { cpuUs: (user + system) / each.messages, perSecond: (1_000 * each.messages) / ms };
}

const rounds = 5;
const processors = watchProcessors();
const best = new Map<Case, Awaited<ReturnType<typeof measure>>>();
// In turn, so that what disturbs one disturbs all; the first round warms up and counts like the others.
for (let round = 0; round < rounds; round += 1) {
  for (const each of cases) {
    const run = await measure(each);
    const known = best.get(each);
    if (known === undefined || run.cpuUs < known.cpuUs) best.set(each, run);
  }
}
for (const [{ title }, { cpuUs, perSecond }] of best)
  figure(title, `${cpuUs.toFixed(1)} us of processor time each, ${Math.round(perSecond)} a second`);
console.log(`The best of ${rounds} rounds. ${processors.text()}`);
