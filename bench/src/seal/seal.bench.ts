/**
 * What sealing adds to a payload, in bytes and in processor time, for each mode and size.
 * `node seal.bench.ts [MILLISECONDS]`: how long each is measured.
 */
import { generateKeyPairSync, randomBytes } from "node:crypto";

import { open, type OpeningKeys } from "@postern/seal/envelope/open";
import { seal, type Protection } from "@postern/seal/envelope/seal";
import { sealModes, structureOf } from "@postern/seal/envelope/structure";
import { GroupKey } from "@postern/seal/keys/group-key";
import { decryptionKey, recipientKey } from "@postern/seal/keys/recipient";
import { signingKey, verifyingKey } from "@postern/seal/keys/signature";
import { ReplayGuard } from "@postern/seal/replay/replay-guard";

const [milliseconds = 300] = process.argv.slice(2).map(Number);
const sizes = [16, 64, 1_024, 65_536];
const place = { tenant: "default", topic: "plant/boiler/temperature" };
const binding = { ...place, sender: "boiler-7", epoch: 3 };
const instance = randomBytes(8);

const group = GroupKey.of(randomBytes(32), binding.epoch);
const ed25519 = generateKeyPairSync("ed25519");
const p256 = generateKeyPairSync("ec", { namedCurve: "P-256" });
const x25519 = generateKeyPairSync("ed25519");
const toOne = (key: typeof p256) => [recipientKey(key.publicKey)];
const toTen = Array.from({ length: 10 }, () => recipientKey(p256.publicKey));

const protections: readonly (readonly [name: string, protection: Protection])[] = [
  ["checksum", { mode: "checksum" }],
  ["mac", { mode: "mac", group }],
  ["signed, Ed25519", { mode: "signed", signing: signingKey(ed25519.privateKey) }],
  ["signed, P-256", { mode: "signed", signing: signingKey(p256.privateKey) }],
  ["encrypted, group", { mode: "encrypted", group }],
  ["encrypted, 1 recipient, X25519", { mode: "encrypted", recipients: toOne(x25519) }],
  ["encrypted, 1 recipient, P-256", { mode: "encrypted", recipients: toOne(p256) }],
  ["encrypted, 10 recipients, P-256", { mode: "encrypted", recipients: toTen }],
  [
    "signed+encrypted, group, Ed25519",
    { mode: "signed+encrypted", signing: signingKey(ed25519.privateKey), group },
  ],
  [
    "signed+encrypted, group, P-256",
    { mode: "signed+encrypted", signing: signingKey(p256.privateKey), group },
  ],
];
const keys: OpeningKeys = {
  groupKey: () => group,
  signers: () => [verifyingKey(ed25519.publicKey), verifyingKey(p256.publicKey)],
  decryption: [x25519, p256].map(({ privateKey }) => decryptionKey(privateKey)),
};

let sequence = 0;

/** Microseconds of processor time of one call. */
function cpuMicroseconds(work: () => void): number {
  for (let warm = 0; warm < 50; warm++) work();
  const begin = process.cpuUsage();
  const end = performance.now() + milliseconds;
  let count = 0;
  while (performance.now() < end) {
    for (let batch = 0; batch < 10; batch++) work();
    count += 10;
  }
  const { user, system } = process.cpuUsage(begin);
  return (user + system) / count;
}

function opened(sealed: Uint8Array, guard?: ReplayGuard): void {
  const result = open(sealed, place, keys, { modes: sealModes, guard });
  if (result.kind === "refused") throw new Error(result.reason);
}

const columns = (cells: readonly string[]): void => {
  console.log(cells.map((cell, index) => (index === 0 ? cell.padEnd(34) : cell.padStart(10))).join(""));
};

for (const size of sizes) {
  console.log(`\npayload of ${size} bytes, sender of 8 characters; microseconds of processor time`);
  columns(["", "bytes more", "seal", "open", "look"]);
  const payload = randomBytes(size);
  for (const [name, protection] of protections) {
    const make = () => seal(protection, binding, { instance, sequence: sequence++ }, payload);
    const sealed = make();
    const times = [() => void make(), () => opened(sealed), () => void structureOf(sealed)].map(
      cpuMicroseconds,
    );
    columns([name, `${sealed.length - size}`, ...times.map((time) => time.toFixed(1))]);
  }
}

const guard = new ReplayGuard();
let number = 0;
const judged = cpuMicroseconds(() => {
  const message = { sender: "boiler-7", epoch: 3, instance, sequence: number++ };
  if (guard.judge(message) === "fresh") guard.accept(message);
});
console.log(`\nwindow against replays, one message: ${judged.toFixed(2)} us`);
