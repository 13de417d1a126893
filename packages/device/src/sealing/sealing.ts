import { createPrivateKey, createPublicKey, randomBytes } from "node:crypto";

import { open, type RefusalCode } from "@postern/seal/envelope/open";
import type { Header } from "@postern/seal/envelope/header";
import { seal } from "@postern/seal/envelope/seal";
import { structureOf } from "@postern/seal/envelope/structure";
import { keyPackageTopic, type PackageRefusal } from "@postern/seal/groups/key-package";
import { Keyring } from "@postern/seal/groups/keyring";
import { decryptionKey, type DecryptionKey } from "@postern/seal/keys/recipient";
import { signingKey, verifyingKey, type SigningKey } from "@postern/seal/keys/signature";
import type { ReplayGuard } from "@postern/seal/replay/replay-guard";
import { RetainedOnce } from "@postern/seal/replay/retained-once";
import { SequenceCounter } from "@postern/seal/replay/sequence-counter";

import { SealError } from "../errors.ts";
import { Message } from "../message.ts";
import type { OutgoingMessage } from "../outbound.ts";
import { Rules, type SealRule } from "./rules.ts";
import { SealState } from "./state.ts";

export interface SealOptions {
  /** A directory of this device's own: how far it has counted, what it has accepted, its newest keys. */
  readonly state: string;
  /** What is to be sealed, whatever the key authority says, or before it has said anything. */
  readonly rules?: readonly SealRule[];
  /** Public keys or certificates (PEM) of those who may give this device keys of groups, over `$keys/<device>`. */
  readonly authorities?: readonly string[];
}

export interface SealIdentity {
  readonly tenant: string;
  readonly device: string;
  /** The private key (PEM) of the device's certificate, if it has one. */
  readonly key: string | undefined;
}

/** A message that was not delivered, and why. */
export interface Refusal {
  readonly topic: string;
  readonly code: RefusalCode | `keys-${PackageRefusal}`;
  readonly reason: string;
  /** Who it claims to be of; proved by nothing. */
  readonly claimedSender: string | undefined;
}

export type Opening =
  | { readonly kind: "message"; readonly message: Message; readonly settled: () => void }
  | { readonly kind: "refused"; readonly refusal: Refusal };

/** Messages that are accepted, and not finished by the application. */
function placeOf({ epoch, sender, instance, sequence }: Header): string {
  return `${epoch} ${Buffer.from(instance).toString("hex")} ${sequence} ${sender}`;
}

/** Seals what a device publishes and opens what it receives, by rules. What a rule wants sealed is never taken or sent as it is. */
export class Sealing {
  readonly #identity: SealIdentity;
  readonly #options: SealOptions;
  readonly #state: SealState;
  readonly #rules: Rules;
  readonly #guard: ReplayGuard;
  readonly #counter: SequenceCounter;
  readonly #retained = new Map<string, RetainedOnce>();
  /** Handed on, and not finished: it is remembered for good when the application is done with it. */
  readonly #inHand = new Set<string>();
  #keyring: Keyring;
  #signing: SigningKey | undefined;

  private constructor(
    identity: SealIdentity,
    options: SealOptions,
    kept: { readonly state: SealState; readonly counter: SequenceCounter },
  ) {
    this.#identity = identity;
    this.#options = options;
    this.#state = kept.state;
    this.#counter = kept.counter;
    this.#guard = kept.state.loadGuard();
    this.#keyring = this.#newKeyring(identity.key);
    this.#rules = new Rules(options.rules ?? [], () => this.#keyring);
    const known = kept.state.loadPackage();
    if (known !== undefined) this.#keyring.update(known);
  }

  /** @throws {DeviceFileError}, and {TypeError} or {RangeError} for rules and keys that cannot be. */
  static async start(identity: SealIdentity, options: SealOptions): Promise<Sealing> {
    const state = new SealState(options.state);
    const store = state.counter;
    const counter = await SequenceCounter.open({ store, nowMs: Date.now(), randomBytes });
    return new Sealing(identity, options, { state, counter });
  }

  /** Where packages of keys come from; `undefined` when nobody may give us any. */
  get keysTopic(): string | undefined {
    const { authorities = [] } = this.#options;
    return authorities.length === 0 ? undefined : keyPackageTopic(this.#identity.device);
  }

  /** The number of the package of keys in use; -1 when there is none. */
  get keysSerial(): number {
    return this.#keyring.serial;
  }

  #newKeyring(key: string | undefined): Keyring {
    const { tenant, device } = this.#identity;
    this.#signing = key === undefined ? undefined : signingKey(createPrivateKey(key));
    const own = [key, this.#state.loadFormerKey()].filter((pem) => pem !== undefined);
    const decryption = own.flatMap(decryptionKeys);
    const authorities = (this.#options.authorities ?? []).map((pem) => verifyingKey(createPublicKey(pem)));
    return new Keyring({ tenant, device, authorities, decryption, now: Date.now });
  }

  /** After a renewal: what is encrypted to the key before still opens. */
  renewKey(key: string): void {
    if (this.#identity.key !== undefined) this.#state.saveFormerKey(this.#identity.key);
    this.#keyring = this.#newKeyring(key);
    const known = this.#state.loadPackage();
    if (known !== undefined) this.#keyring.update(known);
  }

  /** @returns the message as it is to be sent. @throws {SealError} where it must be sealed and cannot be. */
  async seal(message: OutgoingMessage): Promise<OutgoingMessage> {
    const { topic, payload, properties } = message;
    if (this.#rules.demandOn(topic) === undefined) return message;
    const choice = this.#rules.sealing(topic, this.#signing);
    if (typeof choice === "string")
      throw new SealError(`the message to "${topic}" cannot be sealed: ${choice}; it was not sent`);
    const { tenant, device: sender } = this.#identity;
    const position = await this.#counter.next();
    const dated = choice.dated ? { sealedAtMs: Date.now() } : {};
    const binding = { tenant, topic, sender, epoch: choice.epoch };
    const sealed = seal(choice.protection, binding, position, payload, dated);
    const { payloadFormatIndicator: _binary, ...others } = properties;
    return { ...message, payload: sealed, properties: { ...others, contentType: "application/cose" } };
  }

  /** To be called when a filter is subscribed to: the server sends its retained messages again. */
  beginRetained(identifier: number): void {
    this.#retained.set(String(identifier), new RetainedOnce());
  }

  /** Opens a message on a topic with a rule; any other stays as it is. `settled` is to be called when it is finished. */
  open(message: Message, identifiers: readonly number[]): Opening {
    const demand = this.#rules.demandOn(message.topic);
    if (demand === undefined) return { kind: "message", message, settled: () => {} };
    const { topic, payload, retained, qos } = message;
    const once = this.#retained.get(identifiers.join(" ")) ?? new RetainedOnce();
    if (identifiers.length > 0) this.#retained.set(identifiers.join(" "), once);
    const opened = open(payload, { tenant: this.#identity.tenant, topic }, demand.keys, {
      modes: [demand.mode],
      delivery: { retained, mayRepeat: qos === 1 },
      retained: demand.retained ? once : undefined,
      age:
        demand.maxAgeSeconds === undefined
          ? undefined
          : { nowMs: Date.now(), maxMs: demand.maxAgeSeconds * 1_000 },
    });
    if (opened.kind === "refused") {
      const { code, reason, claimedSender } = opened;
      return { kind: "refused", refusal: { topic, code, reason, claimedSender } };
    }
    const structure = structureOf(payload);
    if (structure.kind !== "sealed") throw new Error("what was opened is not sealed");
    const { header } = structure.structure;
    const refusal = this.#replayed(header, message);
    if (refusal !== undefined) return { kind: "refused", refusal };
    const place = placeOf(header);
    this.#inHand.add(place);
    const { mode, sender, epoch, sealedAtMs } = opened;
    return {
      kind: "message",
      message: new Message({
        topic,
        payload: Buffer.from(opened.payload),
        qos,
        retained,
        duplicate: message.duplicate,
        properties: message.properties,
        sealed: { mode, sender, epoch, sealedAtMs },
      }),
      settled: () => this.#accept(place, header),
    };
  }

  #replayed(header: Header, { topic, retained, qos }: Message): Refusal | undefined {
    const { sender, sequence } = header;
    const verdict = this.#inHand.has(placeOf(header)) ? "replayed" : this.#guard.judge(header);
    // The broker keeps a retained message for every new subscription: that it was seen before says nothing.
    if (verdict === "fresh" || (retained && verdict !== "too-many-senders")) return undefined;
    const code = verdict === "replayed" && qos === 1 ? "duplicate" : verdict;
    return { topic, code, reason: `message ${sequence} of "${sender}": ${code}`, claimedSender: sender };
  }

  #accept(place: string, header: Header): void {
    this.#inHand.delete(place);
    if (this.#guard.judge(header) !== "fresh") return;
    this.#guard.accept(header);
    if (this.#guard.mustStore) {
      this.#guard.forget((epoch) => this.#keyring.isLive(epoch) || this.#keyring.serial < 0);
      this.#state.saveGuard(this.#guard);
    }
  }

  /** Takes a package of keys. @returns what is wrong with it, or `undefined` when it is in use now. */
  takeKeys(topic: string, bytes: Uint8Array): Refusal | undefined {
    const result = this.#keyring.update(bytes);
    if (result.kind === "refused") {
      const { code, reason } = result;
      return { topic, code: `keys-${code}`, reason, claimedSender: undefined };
    }
    this.#state.savePackage(bytes);
    return undefined;
  }

  /** At an orderly end: nothing is reserved or taken for accepted that was not. */
  async close(): Promise<void> {
    await this.#counter.close();
    this.#state.saveGuard(this.#guard, { atEnd: true });
  }
}

/** None for a key that nothing can be encrypted to. */
function decryptionKeys(pem: string): DecryptionKey[] {
  try {
    return [decryptionKey(createPrivateKey(pem))];
  } catch {
    return [];
  }
}
