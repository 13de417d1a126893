import { channel } from "node:diagnostics_channel";

/**
 * When a knock that opened came to each stage, in ms on the machine's monotonic clock, which all its processes share. Published on
 * `traceChannel`; costs nothing while nobody listens.
 */
export interface KnockTrace {
  readonly device: string;
  /** The gate's process was handed the packet. */
  readonly receivedMs: number;
  /** Its device was found. */
  verifiedMs: number;
  /** The kernel has what was accepted, or the disk where that is needed. */
  heldMs: number;
  /** The server said that it knows. */
  toldMs: number;
  /** The kernel lets the device in. */
  openedMs: number;
}

export const traceChannel = "postern:gate:knock";

const traces = channel(traceChannel);

/** @returns `undefined` when nobody listens. */
export function beginTrace(): number | undefined {
  return traces.hasSubscribers ? monotonicMs() : undefined;
}

/** A trace of a knock that was just verified. */
export function traceOf(device: string, receivedMs: number | undefined): KnockTrace | undefined {
  if (receivedMs === undefined) return undefined;
  return { device, receivedMs, verifiedMs: monotonicMs(), heldMs: 0, toldMs: 0, openedMs: 0 };
}

export function publishTrace(trace: KnockTrace): void {
  trace.openedMs = monotonicMs();
  traces.publish(trace);
}

export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
