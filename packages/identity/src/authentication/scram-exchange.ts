import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";

import { refusalOfDevice } from "../device.ts";
import { hmac, scramIterations, type ScramKeys } from "../password/scram-keys.ts";
import {
  quoted,
  refused,
  RefusalCode,
  type CredentialsRequest,
  type Exchange,
  type ExchangeStep,
  type Refused,
} from "./credentials.ts";
import type { FailureRecorder } from "./failure-recorder.ts";
import type { DeviceDirectory } from "./password-authenticator.ts";
import { parseClientFinal, parseClientFirst, type ClientFirst } from "./scram-messages.ts";

/** @see RFC 7677 */
export const scramMethod = "SCRAM-SHA-256";

export interface ScramOptions {
  readonly devices: DeviceDirectory;
  readonly failures: FailureRecorder;
  /** Of this installation, and the same after each start: the salts of nobody are made from it. */
  readonly secret: Uint8Array;
  readonly wait?: (ms: number) => Promise<void>;
}

/** The keys of one attempt; `reason` says why nobody can succeed with them. */
interface Candidate {
  readonly keys: ScramKeys;
  readonly reason: string | undefined;
}

/**
 * The server's side of SCRAM-SHA-256, without channel binding. The password never crosses the wire, and the client learns
 * that the server knows it too. Whoever does not exist gets a salt as well, the same each time, and fails where a wrong
 * password fails.
 *
 *     CONNECT  n,,n=name,r=nonce           ─►
 *              ◄─  AUTH 0x18  r=nonce+ours,s=salt,i=rounds
 *     AUTH 0x18  c=biws,r=nonce+ours,p=proof  ─►
 *              ◄─  CONNACK 0x00  v=signature
 *
 * @see RFC 5802 §3, RFC 7677, MQTT 5.0 §4.12
 */
export class Scram {
  readonly #options: ScramOptions;
  readonly #wait: (ms: number) => Promise<void>;

  constructor(options: ScramOptions) {
    this.#options = options;
    this.#wait = options.wait ?? ((ms) => delay(ms, undefined, { ref: false }));
  }

  start(request: CredentialsRequest): Exchange {
    let began: Begun | undefined;
    let over = false;
    return {
      next: (data) => {
        if (over) return wrong("it goes on after the end");
        if (began === undefined) {
          const first = this.#begin(request, data ?? new Uint8Array());
          if ("kind" in first) return first;
          began = first;
          return { kind: "continue", data: Buffer.from(first.serverFirst) };
        }
        over = true;
        return this.#finish(request, began, data ?? new Uint8Array());
      },
    };
  }

  #begin(request: CredentialsRequest, data: Uint8Array): Begun | Refused {
    const first = parseClientFirst(data);
    if ("malformed" in first) return wrong(first.malformed);
    if (request.username !== undefined && request.username !== "" && request.username !== first.username)
      return wrong(`it gave the user names ${quoted(request.username)} and ${quoted(first.username)}`);
    const candidate = this.#candidateOf(first.username);
    const nonce = first.nonce + randomBytes(18).toString("base64");
    const { salt, iterations } = candidate.keys;
    return { first, candidate, nonce, serverFirst: `r=${nonce},s=${salt},i=${iterations}` };
  }

  async #finish(
    { peer }: CredentialsRequest,
    { first, candidate, nonce, serverFirst }: Begun,
    data: Uint8Array,
  ): Promise<ExchangeStep> {
    const { username } = first;
    const verdict = this.#options.failures.begin({ address: peer.address, identity: username });
    if (verdict.kind === "refuse") return refused(RefusalCode.connectionRateExceeded, verdict.reason);
    const { attempt } = verdict;
    if (verdict.kind === "wait") await this.#wait(verdict.waitMs);
    const final = parseClientFinal(data);
    const fails = (reason: string): Refused => {
      attempt.failed("password");
      return wrong(`the SCRAM proof of ${quoted(username)} is refused: ${reason}`);
    };
    if ("malformed" in final) return fails(final.malformed);
    if (final.nonce !== nonce) return fails("another nonce");
    if (Buffer.from(final.channelBinding, "base64").toString("latin1") !== first.gs2Header)
      return fails("the channel binding flag was changed");
    const authMessage = `${first.bare},${serverFirst},${final.withoutProof}`;
    const { keys } = candidate;
    const right = proves(keys, authMessage, final.proof);
    // As it is now: the device may have been revoked meanwhile.
    const reason = candidate.reason ?? this.#candidateOf(username).reason;
    if (!right || reason !== undefined) return fails(reason ?? "wrong password");
    attempt.succeeded();
    const signature = hmac(Buffer.from(keys.serverKey, "base64"), authMessage).toString("base64");
    return {
      kind: "accepted",
      identity: { name: username, anonymous: false },
      untilMs: Infinity,
      by: scramMethod,
      data: Buffer.from(`v=${signature}`),
    };
  }

  #candidateOf(name: string): Candidate {
    const device = this.#options.devices.find(name);
    if (device === undefined) return this.#nobody(name, "no device has this name");
    const reason = refusalOfDevice(device);
    const scram = device.password?.scram;
    if (scram === undefined) return this.#nobody(name, reason ?? "the device has no SCRAM keys");
    return { keys: scram, reason };
  }

  /** Keys that no password has, with the salt that this name always gets. */
  #nobody(name: string, reason: string): Candidate {
    const salt = hmac(this.#options.secret, `scram salt of ${name}`).subarray(0, 16).toString("base64");
    const key = randomBytes(32).toString("base64");
    return { keys: { salt, iterations: scramIterations, storedKey: key, serverKey: key }, reason };
  }
}

/** After the first step. */
interface Begun {
  readonly first: ClientFirst;
  readonly candidate: Candidate;
  /** The client's and ours. */
  readonly nonce: string;
  readonly serverFirst: string;
}

/** Whether the proof shows knowledge of the client key whose hash is stored. @see RFC 5802 §3 */
function proves({ storedKey }: ScramKeys, authMessage: string, proof: Buffer): boolean {
  const stored = Buffer.from(storedKey, "base64");
  const signature = hmac(stored, authMessage);
  const clientKey = Buffer.alloc(32);
  for (let index = 0; index < clientKey.length; index += 1)
    clientKey[index] = (proof[index] ?? 0) ^ (signature[index] ?? 0);
  return timingSafeEqual(createHash("sha256").update(clientKey).digest(), stored);
}

function wrong(reason: string): Refused {
  return refused(RefusalCode.badUserNameOrPassword, reason);
}
