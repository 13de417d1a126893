import assert from "node:assert/strict";
import { createPrivateKey, createPublicKey, randomBytes, X509Certificate, type KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";

import { parseBundle } from "@postern/core/bundle";
import {
  open,
  type Delivery,
  type Opened,
  type OpenOptions,
  type Refused,
} from "@postern/seal/envelope/open";
import { seal } from "@postern/seal/envelope/seal";
import { keyPackageTopic } from "@postern/seal/groups/key-package";
import { Keyring } from "@postern/seal/groups/keyring";
import { decryptionKey } from "@postern/seal/keys/recipient";
import { signingKey, verifyingKey } from "@postern/seal/keys/signature";
import { ReplayGuard } from "@postern/seal/replay/replay-guard";
import { SequenceCounter } from "@postern/seal/replay/sequence-counter";
import { connect, type MqttClient } from "mqtt";

/** A message as it came, before anything was done with it. */
export interface Came {
  readonly topic: string;
  readonly payload: Buffer;
  readonly retain: boolean;
}

/** How long an expected event may take on a busy machine. */
const patienceMs = 30_000;

/** A device that seals and opens as its bundle and its key packages say, over a connection of its own to a real server. */
export class SealingDevice implements AsyncDisposable {
  readonly name: string;
  readonly keyring: Keyring;
  readonly counter = SequenceCounter.volatile(Date.now(), randomBytes);
  guard = new ReplayGuard();
  /** How far its clock is ahead: new keys are in use some seconds after they are there. */
  aheadMs = 0;
  readonly came: Came[] = [];
  readonly client: MqttClient;
  readonly #key: KeyObject;
  readonly #tenant: string;
  #wake: () => void = () => {};

  private constructor(bundleFile: string, url: string | undefined) {
    const bundle = parseBundle(readFileSync(bundleFile, "utf8"), bundleFile);
    const { certificate = "", key = "", ca, sealing, device, servers } = bundle;
    assert.ok(sealing !== undefined, `${bundleFile} does not say whose keys to take`);
    assert.ok(new X509Certificate(certificate).subjectAltName?.endsWith(device));
    this.name = device;
    this.#tenant = sealing.tenant;
    this.#key = createPrivateKey(key);
    this.keyring = new Keyring({
      tenant: sealing.tenant,
      device,
      authorities: sealing.authorities.map((spki) =>
        verifyingKey(createPublicKey({ key: Buffer.from(spki, "base64"), format: "der", type: "spki" })),
      ),
      decryption: [decryptionKey(this.#key)],
      now: () => Date.now() + this.aheadMs,
    });
    const credentials = url === undefined ? { ca, cert: certificate, key } : {};
    this.client = connect(url ?? servers[0]?.url ?? "", {
      protocolVersion: 5,
      reconnectPeriod: 0,
      ...credentials,
    });
    this.client.on("message", (topic, payload, { retain }) => {
      if (topic === keyPackageTopic(device)) this.keyring.update(payload);
      else this.came.push({ topic, payload: Buffer.from(payload), retain });
      this.#wake();
    });
  }

  /** Connects by its bundle, or in plain text to `url`, and takes its keys. */
  static async connect(
    bundleFile: string,
    { topics, url }: { readonly topics: readonly string[]; readonly url?: string },
  ): Promise<SealingDevice> {
    const device = new SealingDevice(bundleFile, url);
    device.client.on("error", () => device.#wake());
    await device.until(() => device.client.connected, "CONNACK");
    await device.client.subscribeAsync([keyPackageTopic(device.name), ...topics], { qos: 1 });
    return device;
  }

  async until(done: () => boolean, what: string): Promise<void> {
    const deadline = performance.now() + patienceMs;
    while (!done()) {
      assert.ok(performance.now() < deadline, `${this.name} waited in vain for ${what}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 200);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** The message with that number, counted from 0, once it has come. */
  async message(index: number): Promise<Came> {
    await this.until(() => this.came.length > index, `message ${index}`);
    return this.came[index] ?? assert.fail();
  }

  async seal(topic: string, text: string): Promise<Buffer> {
    const choice = this.keyring.sealing(topic, signingKey(this.#key));
    assert.ok(typeof choice === "object", `${this.name} cannot seal on ${topic}: ${JSON.stringify(choice)}`);
    const binding = { tenant: this.#tenant, topic, sender: this.name, epoch: choice.epoch };
    const options = choice.dated ? { sealedAtMs: Date.now() } : {};
    return seal(choice.protection, binding, await this.counter.next(), Buffer.from(text), options);
  }

  async publish(topic: string, text: string): Promise<Buffer> {
    const sealed = await this.seal(topic, text);
    await this.client.publishAsync(topic, sealed, {
      qos: 1,
      properties: { contentType: "application/cose" },
    });
    return sealed;
  }

  /** What the device makes of a message: its text, or the code of what is wrong with it. */
  verdict({ topic, payload }: Pick<Came, "topic" | "payload">, delivery: Delivery = {}): string {
    const result = this.open({ topic, payload }, delivery);
    return result.kind === "opened" ? Buffer.from(result.payload).toString() : result.code;
  }

  open({ topic, payload }: Pick<Came, "topic" | "payload">, delivery: Delivery = {}): Opened | Refused {
    const rule = this.keyring.ruleFor(topic);
    const maxMs = rule?.maxAgeSeconds === undefined ? undefined : rule.maxAgeSeconds * 1_000;
    const options: OpenOptions = {
      modes: rule === undefined ? [] : [rule.mode],
      guard: this.guard,
      delivery,
      age: maxMs === undefined ? undefined : { nowMs: Date.now(), maxMs },
    };
    return open(payload, { tenant: this.#tenant, topic }, this.keyring, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.endAsync(true);
  }
}
