import { connect, type Device, type Subscription } from "@postern/device/index";

import { callSchema, type Call, type Reply } from "./device-protocol.ts";

/** A process that is a device: it does with `@postern/device` what the test that started it asks for, one device at a time. */

let device: Device | undefined;
let subscription: Subscription | undefined;

function say(reply: Reply): void {
  process.send?.(reply);
}

function current(): Device {
  if (device === undefined) throw new Error("there is no device");
  return device;
}

async function begin({ bundle, options }: Extract<Call, { kind: "connect" }>): Promise<void> {
  const connected = await connect(bundle, options);
  connected.on("refused", ({ code }) => say({ kind: "refused", code }));
  connected.on("keys", (serial) => say({ kind: "keys", serial }));
  connected.on("warning", ({ message }) => say({ kind: "warning", text: message }));
  device = connected;
}

async function end(): Promise<void> {
  await device?.close();
  device = undefined;
  subscription = undefined;
}

async function perform(call: Call): Promise<unknown> {
  switch (call.kind) {
    case "connect":
      return begin(call);
    case "publish":
      await current().publish(call.topic, call.payload);
      return undefined;
    case "subscribe":
      subscription = current().subscribe(call.filter);
      return subscription.ready;
    case "next": {
      const next = await subscription?.next();
      if (next === undefined || next.done === true) throw new Error("nothing more comes");
      return { text: next.value.text(), sender: next.value.sealed?.sender };
    }
    case "leave":
      await subscription?.return();
      return undefined;
    case "close":
      return end();
  }
}

async function answer(call: Call): Promise<void> {
  try {
    const value = await perform(call);
    say({ kind: "done", id: call.id, value });
  } catch (thrown) {
    const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
    say({ kind: "failed", id: call.id, code, text: thrown instanceof Error ? thrown.message : "" });
  }
}

process.on("message", (message) => void answer(callSchema.parse(message)));
// The test that started it is over.
process.on("disconnect", () => process.exit());
