import { resolve } from "node:path";

import type { BundleSource } from "@postern/device/bundle-server";
import type { Reporter } from "@postern/device/connection";
import { SealError, reasonText } from "@postern/device/errors";
import { Message } from "@postern/device/message";
import type { MqttClient } from "@postern/device/mqttjs";
import type { OutgoingMessage } from "@postern/device/outbound";
import type { ConnectSettings, WillSettings } from "@postern/device/settings";
import { sealingOf } from "@postern/device/sealing/of-bundle";
import { keysRule, type Sealing } from "@postern/device/sealing/sealing";

import type { CommandContext } from "../context.ts";
import { UsageError } from "../errors.ts";
import type { ReceivedMessage } from "../subscribe/format.ts";
import { readBundle } from "./credentials.ts";

/**
 * What a bundle says of groups and their keys. @throws {UsageError} when it says nothing of them, {DeviceFileError} when another process
 * uses the bundle's keys at the moment.
 */
export async function sealingOfBundle(
  option: "--seal" | "--open",
  { bundle: file, willTopic }: { readonly bundle?: string; readonly willTopic?: string },
  { cwd }: CommandContext,
): Promise<Sealing> {
  if (file === undefined) throw new UsageError(`${option} needs --bundle: it says whose keys to take`);
  const bundle = readBundle(file, { cwd, warn: () => {} });
  const source: BundleSource = { name: file, file: resolve(cwd, file) };
  const leavesWill = willTopic !== undefined;
  const sealing =
    bundle.sealing === undefined
      ? undefined
      : await sealingOf(bundle, source, { seal: undefined, leavesWill });
  if (sealing === undefined) {
    throw new UsageError(
      `${file} does not say whose keys to take: make its device a member of a group (postern keys group members)`,
    );
  }
  return sealing;
}

/** The settings with a will that is sealed where its topic demands it, anew for each connection. */
export function sealingWill(
  settings: ConnectSettings,
  sealing: Sealing | undefined,
  reporter: Reporter,
): ConnectSettings {
  if (sealing === undefined) return settings;
  const will = (): WillSettings | undefined => {
    const plain = settings.will();
    const left = plain && sealing.will(plain);
    if (plain !== undefined && left === undefined)
      reporter.notice(
        `no will is left on "${plain.topic}": there is no key yet that it could be sealed with`,
      );
    return left;
  };
  return { ...settings, will };
}

/** Asks for the device's keys over each connection. */
export function askForKeys(client: MqttClient, sealing: Sealing, reporter: Reporter): void {
  const topic = sealing.keysTopic;
  if (topic === undefined) return;
  client.on("connect", () => {
    sealing.beginRetained(0);
    client.subscribe(topic, { qos: 1 }, (_error, _grants, packet) => {
      const code = Number(packet?.granted[0] ?? 0);
      if (code >= 0x80)
        reporter.notice(`the server gives us no keys on "${topic}": ${reasonText(code)}; ${keysRule}`);
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    // The server answers in order: with the answer to a second one, the first one's retained message is there.
    client.subscribe(topic, { qos: 1, rh: 2 }, () => resolve());
    sealing.keysAsked(promise);
  });
}

/** Takes a message when it holds keys. @returns whether it is one of keys. */
export function takeKeys(
  { topic, payload }: Pick<ReceivedMessage, "topic" | "payload">,
  sealing: Sealing,
  reporter: Reporter,
): boolean {
  if (topic !== sealing.keysTopic) return false;
  const problem = sealing.takeKeys(topic, payload);
  if (problem === undefined) reporter.detail(`keys of groups: package ${sealing.keysSerial}`);
  else reporter.notice(`keys that came were refused (${problem.code}): ${problem.reason}`);
  return true;
}

/** The payload as it is to be sent. @throws {SealError} when nothing says how to seal it, or there is no key. */
export async function sealedPayload(message: OutgoingMessage, sealing: Sealing): Promise<Buffer> {
  const sealed = await sealing.seal(message);
  if (sealed === message) {
    throw new SealError(
      `the message to "${message.topic}" was not sent: the topic is of no group of this device, so nothing says how to seal it`,
    );
  }
  return sealed.payload;
}

/** A message as it is shown, and what is to be done then; `undefined` when it is not to be shown. */
export function openedMessage(
  received: ReceivedMessage,
  sealing: Sealing,
  reporter: Reporter,
): { readonly message: ReceivedMessage; readonly settled: () => void } | undefined {
  if (takeKeys(received, sealing, reporter)) return undefined;
  const { topic, payload, qos, retain, dup, properties } = received;
  const message = new Message({
    topic,
    payload,
    qos,
    retained: retain,
    duplicate: dup,
    properties,
    sealed: undefined,
  });
  const opening = sealing.open(message, []);
  if (opening.kind === "refused") {
    const { code, reason, claimedSender } = opening.refusal;
    const from = claimedSender === undefined ? "" : ` that says it is of "${claimedSender}"`;
    // A line feed in it could make a line of its own.
    const where = topic.replaceAll("\n", "\\n");
    reporter.notice(`refused a message on "${where}"${from} (${code}): ${reason}`);
    return undefined;
  }
  const { sealed } = opening.message;
  const shown = { ...received, payload: opening.message.payload };
  return { message: sealed === undefined ? shown : { ...shown, sealed }, settled: opening.settled };
}
