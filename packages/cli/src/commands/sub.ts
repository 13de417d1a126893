import { Option, type Command } from "commander";

import type { QoS } from "@postern/mqtt/packets";

import {
  addConnectOptions,
  qosOption,
  seconds,
  wholeNumber,
  type ConnectOptions,
} from "../client/options.ts";
import type { CommandContext } from "../context.ts";
import { formats, type Format } from "../subscribe/format.ts";

export interface SubOptions extends ConnectOptions {
  readonly qos: QoS;
  readonly count?: number;
  readonly timeout?: number;
  /** `--no-local` is commander's `local: false`. */
  readonly local: boolean;
  readonly retainHandling?: 0 | 1 | 2;
  readonly retainAsPublished?: true;
  readonly format?: Format;
  readonly json?: true;
  readonly topic?: true;
  readonly open?: true;
}

const examples = `
Filters: "+" stands for one level, "#" for all that follow: sensors/+/temperature, sensors/#.
$share/GROUP/FILTER shares the messages among all who use the same group.

Examples:
  postern sub --bundle device-1.json sensors/#
  postern sub --bundle device-1.json --topic sensors/+/temperature doors/+/open
  postern sub --bundle device-1.json --json alarms/# | jq .payload
  postern sub --bundle panel.json --open 'plant/#'
  postern sub --bundle device-1.json --count 1 --timeout 5 lamps/hall
  postern sub --bundle device-1.json --qos 1 --no-clean --client-id logger logs/#     (misses nothing between two runs)
  postern sub --bundle device-1.json --qos 1 '$share/workers/jobs/#'

Ends with 0 after --count messages (and with --timeout alone, when at least one came), 1 when fewer came,
2 for a wrong command line, 3 when the server cannot be reached, does not let us in or grants no subscription,
130 when interrupted.`;

function retainHandling(text: string): 0 | 1 | 2 {
  return text === "0" ? 0 : text === "1" ? 1 : 2;
}

/** `postern sub`: print messages. */
export function registerSub(program: Command, context: CommandContext): void {
  const command = program
    .command("sub")
    .description("print the messages of topics")
    .argument("<filter...>", "topics, or filters with wildcards")
    .optionsGroup("Subscription:")
    .addOption(qosOption("--qos <qos>", "QoS at most").default(0))
    .option("--count <n>", "end after so many messages", wholeNumber(1, 0xff_ff_ff_ff))
    .option(
      "--timeout <seconds>",
      "end after this time; with 1 when fewer messages came",
      seconds(0.001, 2_000_000),
    )
    .option("--no-local", "not what this client publishes itself (MQTT 5)")
    .addOption(
      new Option(
        "--retain-handling <n>",
        "retained messages: 0 always, 1 for a new subscription, 2 never (MQTT 5)",
      )
        .choices(["0", "1", "2"])
        .argParser(retainHandling),
    )
    .option("--retain-as-published", "keep the retain flag of live messages (MQTT 5)");
  addConnectOptions(command)
    .addOption(
      new Option(
        "--format <format>",
        "payload (text, or base64:…), topic, json, hex, or raw: bytes without line ends (default: payload)",
      ).choices(formats),
    )
    .option("--json", "one JSON object per message: the same as --format json")
    .option(
      "--open",
      "open sealed payloads with the keys of the device's groups, and print nothing that is not as they demand (MQTT 5)",
    )
    .option("--topic", "print the topic before the payload")
    .addHelpText("after", examples)
    .action(async (filters: readonly string[], options: SubOptions) => {
      const { sub } = await import("../subscribe/sub.ts");
      await sub(filters, options, context);
    });
}
