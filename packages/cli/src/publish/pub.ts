import { isTopicName } from "@postern/mqtt/topics";
import { PacketType, type Properties } from "@postern/mqtt/packets";
import { ReasonCode, reasonCodeName } from "@postern/mqtt/reason-codes";
import { openConnection } from "@postern/device/connection";
import { sealedContentType } from "@postern/device/sealing/sealing";

import { readInput } from "../client/credentials.ts";
import { InterruptedError } from "../client/errors.ts";
import { Output } from "../client/output.ts";
import { parseBinary, placeProperties } from "../client/property-options.ts";
import { stderrReporter } from "../client/reporter.ts";
import { askForKeys, sealedPayload, sealingOfBundle, sealingWill, takeKeys } from "../client/sealing.ts";
import { connectSettings } from "../client/settings.ts";
import type { PubOptions } from "../commands/pub.ts";
import type { CommandContext } from "../context.ts";
import { ExitCode, UsageError } from "../errors.ts";
import { mapped, payloadBytesMax, readLines, readWhole, repeat, spaced } from "./payloads.ts";
import { Publisher, type Published } from "./publisher.ts";

function checkTopic(topic: string): void {
  const wildcard = /[+#]/.exec(topic)?.[0];
  if (wildcard !== undefined) {
    throw new UsageError(
      `cannot publish to "${topic}": "${wildcard}" is a wildcard, which only subscriptions can have`,
    );
  }
  if (!isTopicName(topic)) {
    throw new UsageError("cannot publish: the topic must have 1 to 65,535 bytes and no U+0000");
  }
}

/** @throws {UsageError} unless exactly one source of messages is named. */
function checkSources(message: string | undefined, options: PubOptions): void {
  const sources = [
    ...(message === undefined ? [] : ["a message"]),
    ...(options.file === undefined ? [] : ["--file"]),
    ...(options.lines === undefined ? [] : ["--lines"]),
    ...(options.null === undefined ? [] : ["--null"]),
  ];
  if (sources.length === 0) {
    throw new UsageError("say what to publish: a message after the topic, --file FILE, --lines or --null");
  }
  if (sources.length > 1) {
    throw new UsageError(`${sources.join(" and ")} exclude each other: give one of them`);
  }
  if (options.lines === true && options.count !== undefined) {
    throw new UsageError("--lines and --count exclude each other: lines are published once");
  }
}

/** Reads what is to be published; with `--lines` while it is being published. */
async function payloadsOf(
  message: string | undefined,
  options: PubOptions,
  context: CommandContext,
): Promise<AsyncIterable<Buffer> | Iterable<Buffer>> {
  const intervalMs = (options.interval ?? 0) * 1_000;
  let payloads: AsyncIterable<Buffer> | Iterable<Buffer>;
  if (options.lines === true) {
    payloads = readLines(context.stdin);
  } else {
    const payload = await wholePayload(message, options, context);
    if (payload.length > payloadBytesMax) {
      throw new UsageError(
        `${options.file ?? "the message"} has ${payload.length} bytes, more than MQTT can send`,
      );
    }
    payloads = repeat(payload, options.count ?? 1);
  }
  return intervalMs === 0 ? payloads : spaced(payloads, intervalMs);
}

async function wholePayload(
  message: string | undefined,
  { file }: PubOptions,
  context: CommandContext,
): Promise<Buffer> {
  if (message !== undefined) return Buffer.from(message, "utf8");
  if (file === undefined) return Buffer.alloc(0);
  return file === "-" ? readWhole(context.stdin) : readInput(file, "the file", context);
}

/** The options that have names of their own, over what `--property` said. */
function messageProperties(options: PubOptions, given: Properties): Properties {
  const properties: Properties = { ...given };
  if (options.expiry !== undefined) properties.messageExpiryInterval = options.expiry;
  if (options.contentType !== undefined) properties.contentType = options.contentType;
  if (options.responseTopic !== undefined) properties.responseTopic = options.responseTopic;
  if (options.correlation !== undefined) properties.correlationData = parseBinary(options.correlation);
  if (options.userProperty !== undefined) {
    properties.userProperties = [...(given.userProperties ?? []), ...options.userProperty];
  }
  return properties;
}

/** Runs `postern pub`. @throws {CliError} as its help says. */
export async function pub(
  topic: string,
  message: string | undefined,
  options: PubOptions,
  context: CommandContext,
): Promise<void> {
  checkTopic(topic);
  checkSources(message, options);
  const placed = placeProperties(options.property ?? [], PacketType.publish);
  const properties = messageProperties(options, placed.own);
  const settings = connectSettings(options, { ...placed, own: properties }, context);
  if (options.seal === true && options.mqttVersion !== 5) throw new UsageError("--seal is for MQTT 5");
  const plain = await payloadsOf(message, options, context);

  const { qos, retain = false } = options;
  const output = new Output(context.stdout);
  const reporter = stderrReporter(context, options.verbose === true);
  const onPublished = ({ number, payloadBytes, reasonCode }: Published): void => {
    const reason = reasonCode === undefined ? null : reasonCodeName(reasonCode);
    if (options.json === true) {
      const line = {
        message: number,
        topic,
        qos,
        retain,
        bytes: payloadBytes,
        reasonCode: reasonCode ?? null,
        reason,
      };
      void output.write(`${JSON.stringify(line)}\n`);
    }
    if (reasonCode === ReasonCode.noMatchingSubscribers) {
      reporter.detail(`message ${number}: nobody is subscribed to "${topic}"`);
    } else {
      reporter.detail(`message ${number}: ${reason === null ? "sent" : `acknowledged: ${reason}`}`);
    }
  };

  await using stack = new AsyncDisposableStack();
  const sealing = options.seal === true ? await sealingOfBundle("--seal", options, context) : undefined;
  if (sealing !== undefined) stack.defer(() => sealing.close());
  const connection = await openConnection(sealingWill(settings, sealing, reporter), {
    reporter,
    signal: context.interruption(),
    prepare: (client) => {
      if (sealing === undefined) return;
      askForKeys(client, sealing, reporter);
      client.on("message", (name, payload) => takeKeys({ topic: name, payload }, sealing, reporter));
    },
  });
  const payloads =
    sealing === undefined
      ? plain
      : mapped(plain, (payload) => sealedPayload({ topic, payload, qos, retain, properties }, sealing));
  const request = {
    topic,
    qos,
    retain,
    properties: sealing === undefined ? properties : { ...properties, contentType: sealedContentType },
    protocolVersion: settings.protocolVersion,
  };
  const publisher = new Publisher(connection, request, onPublished);
  try {
    await publisher.publishAll(payloads);
    const objection = await connection.end();
    if (objection !== undefined) throw objection;
  } catch (thrown) {
    if (!(thrown instanceof InterruptedError)) throw thrown;
    if (publisher.unacknowledged > 0 && qos > 0) {
      reporter.notice(`interrupted; not acknowledged: ${publisher.unacknowledged} messages`);
    }
    context.exitCode = ExitCode.interrupted;
  } finally {
    await connection.end();
    await output.flush(context.exitCode === ExitCode.interrupted ? 1_000 : undefined);
  }
}
