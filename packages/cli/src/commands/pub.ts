import type { Command } from "commander";

import type { QoS } from "@postern/mqtt/packets";

import {
  addConnectOptions,
  parseExpirySeconds,
  qosOption,
  seconds,
  wholeNumber,
  type ConnectOptions,
} from "../client/options.ts";
import type { CommandContext } from "../context.ts";

export interface PubOptions extends ConnectOptions {
  readonly file?: string;
  readonly lines?: true;
  readonly null?: true;
  readonly qos: QoS;
  readonly retain?: true;
  readonly count?: number;
  readonly interval?: number;
  readonly expiry?: number;
  readonly contentType?: string;
  readonly responseTopic?: string;
  readonly correlation?: string;
  readonly json?: true;
  readonly seal?: true;
}

const examples = `
Examples:
  postern pub --bundle device-1.json sensors/hall/temperature 21.5
  postern pub --bundle device-1.json --retain --qos 1 lamps/hall on
  postern pub --bundle device-1.json --retain --null lamps/hall      (clears it)
  postern pub --bundle device-1.json --file photo.jpg cameras/door
  postern pub --bundle press-7.json --seal --qos 1 plant/press-7 21.5
  tail -f app.log | postern pub --bundle device-1.json --lines --qos 1 logs/app
  POSTERN_PASSWORD=… postern pub --url mqtts://broker.example --username me a/b hello

Ends with 0 when the server has acknowledged everything, 1 when it refused a message, 2 for a wrong command line,
3 when the server cannot be reached or does not let us in, 130 when interrupted.`;

/** `postern pub`: publish messages. */
export function registerPub(program: Command, context: CommandContext): void {
  const command = program
    .command("pub")
    .description("publish a message, a file, or each line of standard input")
    .argument("<topic>", "where to; without wildcards")
    .argument("[message]", "what")
    .optionsGroup("Message:")
    .option("--file <file>", "publish a whole file; - for all of standard input")
    .option("--lines", "publish each line of standard input that is not empty")
    .option("--null", "publish an empty message; with --retain it clears the topic")
    .addOption(qosOption("--qos <qos>", "QoS: at most once, at least once, exactly once").default(0))
    .option("--retain", "the server keeps it for those who subscribe later")
    .option("--count <n>", "publish it so many times", wholeNumber(1, 0xff_ff_ff_ff))
    .option("--interval <seconds>", "wait between messages", seconds(0, 86_400))
    .option("--expiry <seconds>", "how long it is worth delivering", parseExpirySeconds)
    .option("--content-type <type>", "what the payload is, such as application/json")
    .option(
      "--seal",
      "seal the payload with the keys of the group that the topic belongs to (MQTT 5); with --qos 1 a server that refuses it says why, with QoS 0 it drops it without a word",
    )
    .option("--response-topic <topic>", "where an answer is to go")
    .option("--correlation <data>", "what the answer is to carry: text, hex:… or base64:…");
  addConnectOptions(command)
    .option("--json", "one line of JSON on stdout for each message that was acknowledged or refused")
    .addHelpText("after", examples)
    .action(async (topic: string, message: string | undefined, options: PubOptions) => {
      const { pub } = await import("../publish/pub.ts");
      await pub(topic, message, options, context);
    });
}
