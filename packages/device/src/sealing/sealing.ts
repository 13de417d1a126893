import { createPrivateKey, createPublicKey, randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";

import { open, type RefusalCode } from "@postern/seal/envelope/open";
import type { Header } from "@postern/seal/envelope/header";
import { seal } from "@postern/seal/envelope/seal";
import { structureOf } from "@postern/seal/envelope/structure";
import { keyPackageTopic, type PackageRefusal } from "@postern/seal/groups/key-package";
import { continueSuccession, successionTopic } from "@postern/seal/groups/succession";
import { Keyring, type SealingChoice } from "@postern/seal/groups/keyring";
import type { Position } from "@postern/seal/envelope/position";
import { decryptionKey, type DecryptionKey } from "@postern/seal/keys/recipient";
import { signingKey, type SigningKey, type VerifyingKey } from "@postern/seal/keys/signature";
import { inScope, type MessagePlace, type ReplayGuard } from "@postern/seal/replay/replay-guard";
import { farBehind } from "@postern/seal/replay/replay-window";
import { RetainedOnce } from "@postern/seal/replay/retained-once";
import { SequenceCounter } from "@postern/seal/replay/sequence-counter";

import { DeviceFileError, SealError } from "../errors.ts";
import { Message } from "../message.ts";
import type { OutgoingMessage } from "../outbound.ts";
import { Rules, type Demand, type SealRule } from "./rules.ts";
import { SealState } from "./state.ts";
import { Wills } from "./wills.ts";

/** What the content type of a sealed payload is. @see RFC 9052 §8 */
export const sealedContentType = "application/cose";

/** What mends a server's refusal to give a device its keys. */
export const keysRule =
  'a role of this device must have the rule { topics: ["$keys/${device}"], allow: [subscribe] } in permissions.yaml, which files from before sealed payloads do not';

/** In the place of an identifier, for messages without one. */
const unnamed = 0;

/** How long a message waits for the first keys of this device. */
const firstKeysMs = 10_000;

/** How long what is sealed waits, over each connection, for the server to say which keys it has. */
const keysAnswerMs = 5_000;

/** How often what was accepted is written exactly. */
const exactAfterMs = 1_000;

export interface SealSettings {
  /** A directory of this device's own. */
  readonly state: string;
  readonly rules: readonly SealRule[];
  /** Who may give this device keys of groups, over `$keys/<device>`. */
  readonly authorities: readonly VerifyingKey[];
  /** Whether `will` is going to be asked for. */
  readonly leavesWill?: boolean;
}

export interface SealIdentity {
  readonly tenant: string;
  readonly device: string;
  /** The private key (PEM) of the device's certificate, if it has one. */
  readonly key: string | undefined;
  /** Since when that certificate is good: a clock that shows less is wrong. */
  readonly notBeforeMs?: number;
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
  | {
      readonly kind: "refused";
      readonly refusal: Refusal;
      /** The key that it is sealed with is on its way, unless it is none: members are given a new one one after the other. */
      readonly mayOpenLater: boolean;
    };

/** Messages that are accepted, and not finished by the application. */
function placeOf({ epoch, sender, instance, sequence }: MessagePlace): string {
  return `${epoch} ${Buffer.from(instance).toString("hex")} ${sequence} ${sender}`;
}

/**
 * What counts a message: a window of its own for what is only claimed to be of a sender. A sender uses no
 * number twice, whatever the epoch: where that is of no group of ours, which would end it some day, all count as one.
 */
function inWindow(
  { epoch, sender, instance, sequence }: Header,
  { claimedIn, isOfGroup }: Demand,
): MessagePlace {
  return {
    epoch: isOfGroup ? epoch : 0,
    instance,
    sequence,
    sender: claimedIn === undefined ? sender : inScope(sender, claimedIn),
  };
}

/** Seals what a device publishes and opens what it receives, by rules. What a rule wants sealed is never taken or sent as it is. */
export class Sealing {
  readonly #identity: SealIdentity;
  readonly #options: SealSettings;
  readonly #state: SealState;
  readonly #rules: Rules;
  readonly #guard: ReplayGuard;
  readonly #counter: SequenceCounter;
  /** By the identifier of the subscription. */
  readonly #retained = new Map<number, RetainedOnce>([[unnamed, new RetainedOnce()]]);
  /** Handed on, and not finished: it is remembered for good when the application is done with it. */
  readonly #inHand = new Set<string>();
  readonly #firstKeys = Promise.withResolvers<void>();
  /** Until the server has said over this connection which keys it has for us. */
  #asked: Promise<void> | undefined;
  #willWaits = false;
  /** Whether what was accepted could not be written the last time. */
  #isUnsaved = false;
  /** Whether what is written of accepted messages runs ahead of them. */
  #isAhead = false;
  /** Until something was written exactly long enough ago. */
  #pause: NodeJS.Timeout | undefined;
  readonly #wills: Wills;
  #keyring: Keyring;
  #signing: SigningKey | undefined;
  /** The private key (PEM) of the certificate in use. */
  #key: string | undefined;

  private constructor(
    identity: SealIdentity,
    options: SealSettings,
    kept: { readonly state: SealState; readonly counter: SequenceCounter; readonly wills: Wills },
  ) {
    this.#identity = identity;
    this.#key = identity.key;
    this.#options = options;
    this.#state = kept.state;
    this.#counter = kept.counter;
    this.#wills = kept.wills;
    this.#guard = kept.state.loadGuard();
    this.#keyring = this.#newKeyring(identity.key);
    this.#rules = new Rules(options.rules, () => this.#keyring, kept.state.loadFilters());
    const known = kept.state.loadPackage();
    if (known !== undefined) this.#keyring.update(known);
  }

  /** @throws {DeviceFileError}, and {TypeError} or {RangeError} for rules and keys that cannot be. */
  static async start(identity: SealIdentity, options: SealSettings): Promise<Sealing> {
    const state = new SealState(options.state);
    try {
      const store = state.counter;
      // Receivers forget by this time: a device that begins anew with a clock that was set back must not sort before itself.
      const nowMs = Math.max(Date.now(), identity.notBeforeMs ?? 0);
      const counter = await SequenceCounter.open({ store, nowMs, randomBytes });
      const wills = new Wills(state.willCounter, nowMs);
      if (options.leavesWill === true) await wills.ready();
      return new Sealing(identity, options, { state, counter, wills });
    } catch (thrown) {
      state.release();
      throw thrown;
    }
  }

  /** Where packages of keys come from; `undefined` when nobody may give us any. */
  get keysTopic(): string | undefined {
    const { authorities } = this.#options;
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
    const { authorities } = this.#options;
    return new Keyring({ tenant, device, authorities, decryption, now: Date.now });
  }

  /** After a renewal: what is encrypted to the key before still opens. `succession` tells our key authority of the new one. */
  renewKey(key: string): void {
    const former = this.#key;
    if (former === key) return;
    this.#key = key;
    if (former !== undefined) {
      this.#state.saveFormerKey(former);
      this.#state.saveSuccession(this.#succeeded(former, key));
    }
    this.#keyring = this.#newKeyring(key);
    const known = this.#state.loadPackage();
    if (known !== undefined) this.#keyring.update(known);
  }

  #succeeded(former: string, next: string): Buffer {
    return continueSuccession(this.#state.loadSuccession(), this.#identity, {
      former: createPrivateKey(former),
      next: createPublicKey(next),
    });
  }

  /** What is to be published, retained, so that our key authority follows us to the key of our newest certificate; `undefined` when it was never renewed. */
  get succession(): { readonly topic: string; readonly payload: Buffer } | undefined {
    const payload = this.keysTopic === undefined ? undefined : this.#state.loadSuccession();
    return payload && { topic: successionTopic(this.#identity.device), payload };
  }

  /** Whether it is not known yet which topics are those of groups: a broker that keeps our keys back must gain nothing by it. */
  get #isWaiting(): boolean {
    return this.keysTopic !== undefined && this.#keyring.serial < 0;
  }

  /**
   * To be called with each connection: what is sealed waits for the answer, since the keys from before may be those that a removed member has,
   * or say nothing of a group that we joined. A server that does not answer is waited for a while.
   */
  keysAsked(answered: Promise<void>): void {
    const over = new AbortController();
    const late = delay(keysAnswerMs, undefined, { signal: over.signal, ref: false }).catch(() => {});
    this.#asked = Promise.race([answered, late]).finally(() => over.abort());
  }

  /** Waits a while for the first keys. @throws {SealError} when none come. */
  async #keysOrNever(topic: string): Promise<void> {
    if (!this.#isWaiting) return;
    const over = new AbortController();
    await Promise.race([
      this.#firstKeys.promise,
      delay(firstKeysMs, undefined, { signal: over.signal }).catch(() => {}),
    ]);
    over.abort();
    if (this.#isWaiting)
      throw new SealError(
        `the message to "${topic}" was not sent: the bundle says whose keys to take, and none have come on ${this.keysTopic}`,
      );
  }

  /** @returns the message as it is to be sent. @throws {SealError} where it must be sealed and cannot be. */
  async seal(message: OutgoingMessage): Promise<OutgoingMessage> {
    const { topic } = message;
    if (!this.#rules.hasOwnRule(topic)) {
      await this.#asked;
      await this.#keysOrNever(topic);
    }
    if (this.#rules.demandOn(topic) === undefined) return message;
    const choice = this.#rules.sealing(topic, this.#signing);
    if (typeof choice === "string")
      throw new SealError(`the message to "${topic}" cannot be sealed: ${choice}; it was not sent`);
    return this.#sealed(message, choice, await this.#counter.next());
  }

  #sealed(message: OutgoingMessage, choice: SealingChoice, position: Position): OutgoingMessage {
    const { topic, payload, properties } = message;
    const { tenant, device: sender } = this.#identity;
    const dated = choice.dated ? { sealedAtMs: Date.now() } : {};
    const binding = { tenant, topic, sender, epoch: choice.epoch };
    const sealed = seal(choice.protection, binding, position, payload, dated);
    const { payloadFormatIndicator: _binary, ...others } = properties;
    return { ...message, payload: sealed, properties: { ...others, contentType: sealedContentType } };
  }

  /**
   * A will as it is to be left with the next CONNECT; `undefined` where it must be sealed and cannot be, for want of keys (`willWaits`) or of
   * a number that is reserved on disk.
   */
  will(will: OutgoingMessage): OutgoingMessage | undefined {
    const choice = this.#willChoice(will.topic);
    this.#willWaits = choice === "no-key";
    if (choice === "plain") return will;
    const position = choice === "no-key" ? undefined : this.#wills.take();
    return choice === "no-key" || position === undefined ? undefined : this.#sealed(will, choice, position);
  }

  #willChoice(topic: string): SealingChoice | "plain" | "no-key" {
    if (!this.#rules.hasOwnRule(topic) && this.#isWaiting) return "no-key";
    if (this.#rules.demandOn(topic) === undefined) return "plain";
    const choice = this.#rules.sealing(topic, this.#signing);
    return typeof choice === "string" ? "no-key" : choice;
  }

  /** Whether the will of this connection was not left because there were no keys, and there are now. */
  couldLeaveWill(topic: string): boolean {
    return this.#willWaits && this.#willChoice(topic) !== "no-key";
  }

  /** To be called when a filter is subscribed to: the server sends its retained messages again. */
  beginRetained(identifier: number): void {
    this.#retained.set(identifier, new RetainedOnce());
    this.#retained.set(unnamed, new RetainedOnce());
  }

  /** Opens a message on a topic with a rule; any other stays as it is. `settled` is to be called when it is finished; it throws {DeviceFileError} when that cannot be written. */
  open(message: Message, identifiers: readonly number[]): Opening {
    const { topic, payload, retained, qos } = message;
    const demand = this.#rules.demandOn(topic);
    if (demand === undefined) {
      if (!this.#isWaiting) return { kind: "message", message, settled: () => {} };
      const reason = "no keys of groups have come, which would say whether it must be sealed";
      const refusal: Refusal = { topic, code: "no-key", reason, claimedSender: undefined };
      return { kind: "refused", refusal, mayOpenLater: true };
    }
    const [identifier = unnamed] = identifiers;
    // What a server names that nobody here gave a subscription is as if it named none.
    const once = this.#retained.get(identifier) ?? this.#retained.get(unnamed);
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
      const mayOpenLater = code === "future-epoch" && this.keysTopic !== undefined;
      return { kind: "refused", refusal: { topic, code, reason, claimedSender }, mayOpenLater };
    }
    const structure = structureOf(payload);
    if (structure.kind !== "sealed") throw new Error("what was opened is not sealed");
    const { header } = structure.structure;
    const numbered = inWindow(header, demand);
    const refusal = this.#replayed(numbered, message, header.sender);
    if (refusal !== undefined) return { kind: "refused", refusal, mayOpenLater: false };
    const place = placeOf(numbered);
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
      settled: () => this.#accept(place, numbered, demand),
    };
  }

  #replayed(numbered: MessagePlace, { topic, retained, qos }: Message, sender: string): Refusal | undefined {
    const { sequence } = numbered;
    const verdict = this.#inHand.has(placeOf(numbered)) ? "replayed" : this.#guard.judge(numbered);
    // The broker keeps a retained message for every new subscription: that it was seen before says nothing.
    if (verdict === "fresh" || (retained && verdict !== "too-many-senders")) return undefined;
    const code = verdict === "replayed" && qos === 1 ? "duplicate" : verdict;
    const reason =
      code === "outside-window" ? farBehind(sequence, sender) : `message ${sequence} of "${sender}": ${code}`;
    return { topic, code, reason, claimedSender: sender };
  }

  /**
   * Writes what was accepted so that nothing is accepted twice after a crash. What is written exactly costs no message either: that is done for
   * each command, and of others once a second. In between, what is written runs ahead of what was accepted.
   */
  #accept(place: string, numbered: MessagePlace, { mode }: Demand): void {
    this.#inHand.delete(place);
    if (this.#guard.judge(numbered) !== "fresh") return;
    this.#guard.accept(numbered);
    if (mode === "signed+encrypted" || this.#pause === undefined) {
      this.#pause ??= setTimeout(() => this.#onPause(), exactAfterMs).unref();
      this.#saveAccepted({ exact: true });
    } else if (this.#guard.mustStore || this.#isUnsaved) this.#saveAccepted({ exact: false });
  }

  #saveAccepted({ exact }: { readonly exact: boolean }): void {
    this.#guard.forget((epoch) => this.#keyring.isLive(epoch) || this.#keyring.serial < 0);
    this.#isUnsaved = true;
    this.#state.saveGuard(this.#guard, { exact });
    this.#isUnsaved = false;
    this.#isAhead = !exact;
  }

  #onPause(): void {
    this.#pause = undefined;
    if (!this.#isAhead) return;
    try {
      this.#saveAccepted({ exact: true });
    } catch (thrown) {
      // What is on disk lets nothing in twice; the next message tries again, and tells of it.
      if (!(thrown instanceof DeviceFileError)) throw thrown;
    }
  }

  /**
   * Takes a package of keys. @returns what is wrong with it, or `undefined` when it is in use now.
   * @throws {DeviceFileError} when it is in use and could not be written.
   */
  takeKeys(topic: string, bytes: Uint8Array): Refusal | undefined {
    const result = this.#keyring.update(bytes);
    if (result.kind === "refused") {
      const { code, reason } = result;
      return { topic, code: `keys-${code}`, reason, claimedSender: undefined };
    }
    this.#firstKeys.resolve();
    const filters = this.#rules.note(this.#keyring.rules.flatMap((rule) => rule.filters));
    if (filters !== undefined) this.#state.saveFilters(filters);
    this.#state.savePackage(bytes);
    return undefined;
  }

  /** At an orderly end: nothing is reserved or taken for accepted that was not. @throws {DeviceFileError} */
  async close(): Promise<void> {
    clearTimeout(this.#pause);
    try {
      await this.#counter.close();
      await this.#wills.close();
      this.#state.saveGuard(this.#guard, { exact: true });
    } finally {
      this.#state.release();
    }
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
