import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { connectPasswordBinding, connectPasswordMs } from "@postern/seal/envelope/connect-password";
import { seal } from "@postern/seal/envelope/seal";
import { decryptionKey, recipientKey } from "@postern/seal/keys/recipient";
import { testKey, testPosition } from "@postern/seal/testing";

import { SealedPasswords } from "./sealed-passwords.ts";

const key = testKey("X25519");
const startMs = 1_800_000_000_000;

let lastSequence = 0;
function sealedPassword(
  parts: { clientId?: string; username?: string; atMs?: number; to?: typeof key; tenant?: string } = {},
): Buffer {
  const { clientId = "c", username = "pump", atMs = startMs, to = key, ...other } = parts;
  lastSequence += 1;
  return seal(
    { mode: "encrypted", recipients: [recipientKey(to.publicKey)] },
    { ...connectPasswordBinding({ clientId, username }), ...other },
    testPosition(lastSequence),
    Buffer.from("secret"),
    { sealedAtMs: atMs },
  );
}

function passwordsAt(startedMs = startMs) {
  const time = { nowMs: startedMs };
  const clock = { wallMs: () => time.nowMs, monotonicMs: () => 0 };
  return { time, passwords: new SealedPasswords({ decryption: decryptionKey(key.privateKey), clock }) };
}

const who = { clientId: "c", username: "pump" };

function reasonAgainst(passwords: SealedPasswords, bytes: Uint8Array, request = who): string {
  const result = passwords.open(bytes, request);
  return result.kind === "refused" ? result.reason : "none";
}

describe("sealed passwords", () => {
  it("are opened for the client id and the user that they are sealed for", () => {
    const { passwords } = passwordsAt();
    const result = passwords.open(sealedPassword(), who);
    assert.ok(result.kind === "opened");
    assert.equal(Buffer.from(result.password).toString(), "secret");
    assert.match(reasonAgainst(passwords, sealedPassword(), { ...who, clientId: "d" }), /does not open/);
    assert.match(reasonAgainst(passwords, sealedPassword(), { ...who, username: "desk" }), /another user/);
    assert.match(reasonAgainst(passwords, sealedPassword({ tenant: "default" })), /does not open/);
    assert.match(reasonAgainst(passwords, sealedPassword({ to: testKey("X25519") })), /does not open/);
    assert.match(reasonAgainst(passwords, Buffer.from("secret")), /not sealed/);
    const altered = sealedPassword();
    altered[altered.length - 1] = (altered.at(-1) ?? 0) ^ 1;
    assert.match(reasonAgainst(passwords, altered), /does not open/);
  });

  it("are good once: also while the first is still judged, but again when it was wrong", () => {
    const { passwords } = passwordsAt();
    const bytes = sealedPassword();
    const first = passwords.open(bytes, who);
    assert.ok(first.kind === "opened");
    assert.match(reasonAgainst(passwords, bytes), /used before/);
    first.settle(false);
    const second = passwords.open(bytes, who);
    assert.ok(second.kind === "opened");
    second.settle(true);
    assert.match(reasonAgainst(passwords, bytes), /used before/);
  });

  it("are not good again when the clock was ahead for a while, and is right again", () => {
    const { passwords, time } = passwordsAt(startMs - 10_000);
    const used = sealedPassword();
    time.nowMs = startMs;
    const result = passwords.open(used, who);
    assert.ok(result.kind === "opened");
    result.settle(true);
    time.nowMs += 3_600_000;
    assert.equal(
      reasonAgainst(passwords, sealedPassword({ atMs: startMs + 5_000 })),
      "its password does not open: it was sealed 3595 s ago, at the most 60 s are allowed",
    );
    time.nowMs = startMs + 1_000;
    assert.match(reasonAgainst(passwords, used), /may have been used before: the clock/);
    assert.equal(reasonAgainst(passwords, sealedPassword({ atMs: startMs + 1_000 })), "none");
  });

  it("are good for a minute, not for later, and not from before a start of the server", () => {
    const { passwords, time } = passwordsAt();
    const used = sealedPassword();
    const result = passwords.open(used, who);
    assert.ok(result.kind === "opened");
    result.settle(true);
    const unused = sealedPassword();
    time.nowMs += connectPasswordMs;
    assert.match(reasonAgainst(passwords, used), /used before/);
    assert.equal(reasonAgainst(passwords, unused), "none");
    time.nowMs += 1_001;
    assert.match(reasonAgainst(passwords, used), /used before/);
    assert.match(reasonAgainst(passwords, sealedPassword()), /s ago/);
    time.nowMs += 2 * connectPasswordMs;
    assert.match(reasonAgainst(passwords, used), /s ago/);
    const early = passwordsAt(startMs + 5_000);
    assert.match(reasonAgainst(early.passwords, sealedPassword()), /before the server started/);
    assert.match(reasonAgainst(early.passwords, sealedPassword({ atMs: startMs + 70_000 })), /from now/);
  });
});
