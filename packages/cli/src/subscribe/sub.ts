import { openConnection, type Connection, type Reporter } from "@postern/device/connection";
import type { MqttClient } from "@postern/device/mqttjs";
import type { BackgroundRenewal } from "@postern/device/est/background-renewal";
import type { ConnectSettings } from "@postern/device/settings";
import { PacketType, type Properties } from "@postern/mqtt/packets";
import { isSharedFilter } from "@postern/mqtt/topics";

import { InterruptedError, MessagesMissingError } from "../client/errors.ts";
import { Output } from "../client/output.ts";
import { placeProperties } from "../client/property-options.ts";
import { renewBundleInBackground } from "../client/renewal.ts";
import { stderrReporter } from "../client/reporter.ts";
import { askForKeys, openedMessage, sealingOfBundle, sealingWill } from "../client/sealing.ts";
import { connectSettings } from "../client/settings.ts";
import type { SubOptions } from "../commands/sub.ts";
import type { CommandContext } from "../context.ts";
import { ExitCode, UsageError } from "../errors.ts";
import { filterProblem } from "./filter-problem.ts";
import { formatMessage, isText, type Format, type ReceivedMessage } from "./format.ts";
import { Subscriber, type SubscribeRequest } from "./subscriber.ts";

function checkFilters(filters: readonly string[], noLocal: boolean): void {
  for (const filter of filters) {
    const problem = filterProblem(filter);
    if (problem !== undefined) throw new UsageError(`cannot subscribe to "${filter}": ${problem}`);
  }
  const shared = filters.find(isSharedFilter);
  if (noLocal && shared !== undefined) {
    // @see MQTT 5.0 §3.8.3.1 [MQTT-3.8.3-4]
    throw new UsageError(
      `--no-local and "${shared}" exclude each other: MQTT forbids it for shared subscriptions`,
    );
  }
}

function checkVersion(options: SubOptions): void {
  const { local, retainHandling, retainAsPublished, mqttVersion } = options;
  if (mqttVersion !== 5 && (!local || retainHandling !== undefined || retainAsPublished === true)) {
    throw new UsageError(
      "--no-local, --retain-handling and --retain-as-published are MQTT 5: use --mqtt-version 5",
    );
  }
}

function checkOpen({ open, mqttVersion, retainAsPublished }: SubOptions): void {
  if (open !== true) return;
  if (mqttVersion !== 5) throw new UsageError("--open is for MQTT 5");
  // Only one retained message of a topic is accepted in a subscription: others are old ones, handed out again.
  if (retainAsPublished === true)
    throw new UsageError(
      "--open and --retain-as-published exclude each other: live messages could not be told from old ones that the server kept",
    );
}

function formatOf({ format, json }: SubOptions): Format {
  if (json === true && format !== undefined && format !== "json") {
    throw new UsageError(`--json and --format ${format} exclude each other: give one of them`);
  }
  return format ?? (json === true ? "json" : "payload");
}

function requestOf(
  filters: readonly string[],
  options: SubOptions,
  properties: Properties,
): SubscribeRequest {
  return {
    filters: [...new Set(filters)],
    qos: options.qos,
    noLocal: !options.local,
    retainAsPublished: options.retainAsPublished === true,
    retainHandling: options.retainHandling ?? 0,
    properties,
    protocolVersion: options.mqttVersion,
  };
}

function subscribeProperties(options: SubOptions, given: Properties): Properties {
  return options.userProperty === undefined
    ? given
    : { ...given, userProperties: [...(given.userProperties ?? []), ...options.userProperty] };
}

/** Aborts when the user interrupts or the time is over; `timedOut` tells which. */
class Deadline implements Disposable {
  readonly signal: AbortSignal;
  timedOut = false;
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(interruption: AbortSignal, seconds: number | undefined) {
    const controller = new AbortController();
    this.signal = AbortSignal.any([interruption, controller.signal]);
    if (seconds === undefined) return;
    this.#timer = setTimeout(() => {
      this.timedOut = true;
      controller.abort(new InterruptedError("the time is over"));
    }, seconds * 1_000);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}

/** A long-running subscriber outlives its certificate: that of a bundle is renewed meanwhile. */
function renewInBackground(
  { bundle, reconnect }: SubOptions,
  { cwd }: CommandContext,
  reporter: Reporter,
): BackgroundRenewal | undefined {
  if (bundle === undefined || !reconnect) return undefined;
  return renewBundleInBackground(bundle, cwd, reporter);
}

/** Runs `postern sub`. @throws {CliError} as its help says. */
export async function sub(
  filters: readonly string[],
  options: SubOptions,
  context: CommandContext,
): Promise<void> {
  checkFilters(filters, !options.local);
  checkVersion(options);
  checkOpen(options);
  const format = formatOf(options);
  const placed = placeProperties(options.property ?? [], PacketType.subscribe);
  const properties = subscribeProperties(options, placed.own);
  const settings = connectSettings(options, { ...placed, own: properties }, context);
  const request = requestOf(filters, options, properties);

  using deadline = new Deadline(context.interruption(), options.timeout);
  const output = new Output(context.stdout);
  const reporter = stderrReporter(context, options.verbose === true);
  using running = new DisposableStack();
  running.use(renewInBackground(options, context, reporter));
  const printed = { count: 0, base64: false };
  const formatting = {
    format,
    withTopic: options.topic === true,
    forTerminal: context.stdout.isTTY === true,
  };
  const print = (message: ReceivedMessage) => {
    printed.count++;
    if (format === "payload" && !printed.base64 && !isText(message.payload)) {
      printed.base64 = true;
      reporter.notice(
        'payloads that are not text are printed as "base64:…"; --format raw or hex prints their bytes',
      );
    }
    return output.write(formatMessage(message, formatting, new Date()));
  };
  await using stack = new AsyncDisposableStack();
  const sealing = options.open === true ? await sealingOfBundle("--open", options, context) : undefined;
  if (sealing !== undefined) stack.defer(() => sealing.close());
  const subscriber = new Subscriber(request, options.count ?? Number.POSITIVE_INFINITY, print, {
    reporter,
    inspect: sealing && ((message) => openedMessage(message, sealing, reporter)),
  });

  let isOver = false;
  try {
    const ports = {
      reporter,
      signal: deadline.signal,
      prepare: (client: MqttClient) => {
        if (sealing !== undefined) askForKeys(client, sealing, reporter);
        subscriber.attach(client);
      },
    };
    await receive(subscriber, sealingWill(settings, sealing, reporter), ports);
  } catch (thrown) {
    if (!(thrown instanceof InterruptedError)) throw thrown;
    isOver = !deadline.timedOut;
    if (isOver) context.exitCode = ExitCode.interrupted;
    else refuseTooFew(printed.count, options);
  } finally {
    await output.flush(isOver ? 1_000 : undefined);
  }
}

type Ports = Pick<Parameters<typeof openConnection>[1], "reporter" | "signal" | "prepare">;

/** Receives until the subscriber has enough. @throws {InterruptedError} by `signal`, and what the connection fails with. */
async function receive(subscriber: Subscriber, settings: ConnectSettings, ports: Ports): Promise<void> {
  const connection: Connection = await openConnection(settings, {
    ...ports,
    onSession: (sessionPresent) => subscriber.onSession(sessionPresent),
    onReconnected: (sessionPresent) => subscriber.onReconnected(connection, sessionPresent),
  });
  try {
    // A session that goes on may bring all that is wanted before the SUBACK, which is then not read any more.
    const { complete } = subscriber;
    await connection.guard(Promise.race([complete, subscriber.subscribe(connection).then(() => complete)]));
  } finally {
    await connection.end({ discardInput: true });
  }
}

function refuseTooFew(count: number, { count: wanted = 1, timeout = 0 }: SubOptions): void {
  if (count < wanted) {
    throw new MessagesMissingError(`${count} of ${wanted} messages came within ${timeout} seconds`);
  }
}
