import { InvalidArgumentError, Option, type Command } from "commander";

import type { ProtocolVersion, QoS, UserProperty } from "@postern/mqtt/packets";

import { collectProperty, collectUserProperty, type PropertyOption } from "./property-options.ts";

/** The options that every command with a connection has, as commander gives them. */
export interface ConnectOptions {
  readonly bundle?: string;
  readonly url?: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly pskFile?: string;
  readonly username?: string;
  readonly passwordFile?: string;
  readonly clientId?: string;
  readonly clean: boolean;
  readonly sessionExpiry?: number;
  readonly keepAlive: number;
  readonly mqttVersion: ProtocolVersion;
  readonly willTopic?: string;
  readonly willMessage?: string;
  readonly willQos?: QoS;
  readonly willRetain?: true;
  readonly property?: readonly PropertyOption[];
  readonly userProperty?: readonly UserProperty[];
  readonly connectTimeout: number;
  readonly reconnect: boolean;
  readonly verbose?: true;
}

/** A parser for commander: whole numbers of a range. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const number = /^\d{1,10}$/.test(text) ? Number(text) : -1;
    if (number >= min && number <= max) return number;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}

/** A parser for commander: seconds, with a fraction if wanted. */
export function seconds(min: number, max: number): (text: string) => number {
  return (text) => {
    const number = /^\d{1,7}(\.\d{1,6})?$/.test(text) ? Number(text) : -1;
    if (number >= min && number <= max) return number;
    throw new InvalidArgumentError(`It must be seconds, from ${min} to ${max}.`);
  };
}

function parseQoS(text: string): QoS {
  switch (text) {
    case "0":
      return 0;
    case "1":
      return 1;
    case "2":
      return 2;
    default:
      throw new InvalidArgumentError("It must be 0, 1 or 2.");
  }
}

function parseVersion(text: string): ProtocolVersion {
  switch (text) {
    case "3.1":
      return 3;
    case "3.1.1":
      return 4;
    case "5":
    case "5.0":
      return 5;
    default:
      throw new InvalidArgumentError("It must be 3.1, 3.1.1 or 5.");
  }
}

const never = 0xff_ff_ff_ff;

/** A parser for commander: seconds until something expires. */
export const parseExpirySeconds = wholeNumber(0, never);

function parseExpiry(text: string): number {
  return text === "never" ? never : wholeNumber(0, never - 1)(text);
}

/** A QoS, with its three values for the help and for completion. */
export function qosOption(flags: string, description: string): Option {
  return new Option(flags, description).choices(["0", "1", "2"]).argParser(parseQoS);
}

/** Adds the options of `ConnectOptions` to a command. */
export function addConnectOptions(command: Command): Command {
  return command
    .optionsGroup("Server:")
    .option(
      "--bundle <file>",
      "device bundle: address and certificate, password, token or pre-shared key; all that Postern needs",
    )
    .option("--url <url>", "another server: mqtts://, wss://, mqtt://, ws:// or unix:///path")
    .option("--ca <file>", "the only certificate authority to trust (PEM; default: those Node trusts)")
    .option("--cert <file>", "certificate to prove who we are (PEM)")
    .option("--key <file>", "its private key (PEM)")
    .option(
      "--psk-file <file>",
      "file with identity:key (in hex), for a server that takes pre-shared keys instead of certificates",
    )
    .option("--username <name>", "user name")
    .option("--password-file <file>", "file with the password (or set POSTERN_PASSWORD)")
    .optionsGroup("Connection:")
    .option("--client-id <id>", "client id (default: a random one)")
    .option("--clean", "begin a new session", true)
    .option(
      "--no-clean",
      "continue the session of this --client-id, or begin one that outlives the connection",
    )
    .addOption(
      new Option(
        "--session-expiry <seconds>",
        'how long the server keeps the session after the connection, or "never" (default with --no-clean: a day)',
      ).argParser(parseExpiry),
    )
    .option("--keep-alive <seconds>", "longest silence before a ping; 0 for none", wholeNumber(0, 65_535), 60)
    .addOption(
      new Option("--mqtt-version <version>", "version of the protocol")
        .choices(["3.1", "3.1.1", "5"])
        .argParser(parseVersion)
        .default(5, "5"),
    )
    .option("--connect-timeout <seconds>", "give up when there is no answer", seconds(0.1, 3_600), 15)
    .option("--no-reconnect", "end when the connection is lost, instead of connecting again")
    .optionsGroup("Will (what the server publishes when we vanish):")
    .option("--will-topic <topic>", "topic")
    .option("--will-message <message>", "message (default: empty)")
    .addOption(qosOption("--will-qos <qos>", "QoS (default: 0)"))
    .option("--will-retain", "retain it")
    .optionsGroup("MQTT 5 properties:")
    .option(
      "--property <name=value>",
      "any property by its name, such as message-expiry-interval=60 or will.content-type=text/plain",
      collectProperty,
    )
    .option("--user-property <name=value>", "user property; can be given again", collectUserProperty)
    .optionsGroup("Output:")
    .option("--verbose", "say on stderr what happens");
}
