import { resolve } from "node:path";

import { errorText } from "@postern/core/errors";
import { connect } from "@postern/device/index";
import { isTopicName } from "@postern/mqtt/topics";

import type { CommandContext } from "../context.ts";
import { UsageError } from "../errors.ts";

/** Time that alerts which are still on their way get when the watch ends. */
const lastAlertsMs = 5_000;

/** Where alerts are published. */
export interface Alerts extends AsyncDisposable {
  /** Publishes an alert; what the server refuses is said on stderr, and the watch goes on. */
  readonly send: (payload: string) => void;
  /** Waits a while until all are acknowledged. */
  readonly sent: () => Promise<void>;
}

/**
 * Connects to where alerts shall go; `undefined` when nothing was asked for. While the connection is broken they wait.
 * @throws {UsageError}, and what the server says at the first connection.
 */
export async function openAlerts(
  options: { readonly publish?: string; readonly bundle?: string },
  context: CommandContext,
  signal: AbortSignal,
): Promise<Alerts | undefined> {
  const { publish: topic, bundle } = options;
  if (topic === undefined && bundle === undefined) return undefined;
  if (topic === undefined || bundle === undefined) {
    throw new UsageError("--publish and --bundle belong together: where to, and with which identity");
  }
  if (!isTopicName(topic))
    throw new UsageError(`--publish is ${JSON.stringify(topic)}, not a topic to publish to`);
  const device = await connect(resolve(context.cwd, bundle), { signal });
  const pending = new Set<Promise<void>>();
  const publish = async (payload: string): Promise<void> => {
    try {
      await device.publish(topic, payload, { qos: 1, properties: { contentType: "application/json" } });
    } catch (thrown) {
      context.stderr.write(`postern: an alert was not published: ${errorText(thrown)}\n`);
    }
  };
  return {
    send(payload) {
      const published = publish(payload).finally(() => pending.delete(published));
      pending.add(published);
    },
    async sent() {
      const { promise, resolve: over } = Promise.withResolvers<void>();
      const limit = setTimeout(over, lastAlertsMs);
      await Promise.race([Promise.all(pending), promise]);
      clearTimeout(limit);
    },
    [Symbol.asyncDispose]: () => device.close(),
  };
}
