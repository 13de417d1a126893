import { isUtf8 } from "node:buffer";

import type { Properties, QoS } from "@postern/mqtt/packets";
import type { Provenance } from "@postern/device/message";
import { visible } from "@postern/device/visible";

/** What `--format` offers. */
export const formats = ["payload", "topic", "json", "hex", "raw"] as const;
export type Format = (typeof formats)[number];

/** A message as it came. */
export interface ReceivedMessage {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly properties: Properties;
  /** Who sealed it, and how, where it was opened. */
  readonly sealed?: Provenance;
}

export interface FormatOptions {
  readonly format: Format;
  /** Write the topic before the payload. */
  readonly withTopic: boolean;
  /** The reader is a terminal: control characters are shown instead of obeyed. */
  readonly forTerminal: boolean;
}

/** Whether a payload is text; the lines of `payload` then show it, otherwise they show base64. */
export function isText(payload: Uint8Array): boolean {
  return isUtf8(payload);
}

function jsonOf(message: ReceivedMessage, time: Date): string {
  const { topic, payload, qos, retain, dup, properties } = message;
  const { correlationData, ...others } = properties;
  const encoding = isText(payload) ? "utf8" : "base64";
  return JSON.stringify({
    topic,
    payload: payload.toString(encoding),
    encoding,
    qos,
    retain,
    dup,
    properties: {
      ...others,
      ...(correlationData === undefined
        ? {}
        : { correlationData: Buffer.from(correlationData).toString("base64") }),
    },
    ...(message.sealed === undefined ? {} : { sealed: message.sealed }),
    time: time.toISOString(),
  });
}

function payloadText(payload: Buffer, format: "payload" | "hex"): string {
  if (format === "hex") return payload.toString("hex");
  return isText(payload) ? payload.toString("utf8") : `base64:${payload.toString("base64")}`;
}

/**
 * What is written to stdout for a message: a line, except with `raw`, where it is the payload and nothing else. A
 * payload with line feeds makes more than one line, except in `json` and `hex`.
 */
export function formatMessage(
  message: ReceivedMessage,
  options: FormatOptions,
  time: Date,
): string | Uint8Array {
  const { format, withTopic, forTerminal } = options;
  if (format === "raw") return message.payload;
  // JSON.stringify leaves DEL and C1 as they are; C0 it escapes itself.
  if (format === "json") return `${forTerminal ? visible(jsonOf(message, time)) : jsonOf(message, time)}\n`;
  const payload = format === "topic" ? "" : payloadText(message.payload, format);
  const prefix = format === "topic" ? message.topic : withTopic ? `${message.topic} ` : "";
  const line = prefix + payload;
  return `${forTerminal ? visible(line) : line}\n`;
}
