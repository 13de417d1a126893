import { connect } from "node:net";

import { GateLinkError } from "../errors.ts";
import { LineChannel } from "./line-channel.ts";
import { fromGateSchema, linkProtocol, type FromGate, type ToGateInput } from "./messages.ts";

type OperatorRequestInput = Extract<ToGateInput, { kind: "request" }>["request"];
type GateAnswer = Extract<FromGate, { kind: "answer" }>["answer"];

/** How long the gate may take to answer. */
const answerMs = 5_000;

/** Asks a running gate one thing. @throws {GateLinkError} when nobody answers, another version does, or it could not be done. */
export async function askGate(path: string, request: OperatorRequestInput): Promise<GateAnswer> {
  const answer = await new Promise<GateAnswer>((resolve, reject) => {
    const socket = connect(path);
    let why = "it ended the conversation";
    socket.once("error", (error) => {
      why = error.message;
    });
    const timer = setTimeout(() => {
      why = "it does not answer";
      channel.end("does not read");
    }, answerMs);
    const channel: LineChannel = new LineChannel(
      socket,
      (value) => {
        const message = fromGateSchema.safeParse(value);
        if (!message.success || (message.data.kind === "welcome" && message.data.protocol !== linkProtocol)) {
          why = "it is of another version; restart the server";
          channel.end("not JSON");
        } else if (message.data.kind === "welcome") {
          channel.send({ kind: "request", id: 1, request });
        } else if (message.data.kind === "answer") {
          resolve(message.data.answer);
          channel.end("closed");
        }
      },
      () => {
        clearTimeout(timer);
        reject(
          new GateLinkError(
            `cannot speak to the gate at ${path}: ${why}; is a server with a gate running on this data directory?`,
          ),
        );
      },
    );
    socket.once("connect", () => channel.send({ kind: "hello", protocol: linkProtocol, role: "operator" }));
  });
  if (answer.kind === "failed") throw new GateLinkError(`the gate could not do it: ${answer.message}`);
  return answer;
}
