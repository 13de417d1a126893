import { subscribe } from "node:diagnostics_channel";

/** No text, and no beginning of a packet that a server sends. */
const poison = 0xdb;

/**
 * Overwrites memory as soon as it is to be used again: what a socket read when its packets were handled, a large packet when all have
 * sent it, a chunk when it is written. Whatever was kept without a copy is this from then on, in every test with a broker.
 */
export function poisonReusedMemory(): void {
  subscribe("postern:memory-over", overwrite);
}

function overwrite(bytes: unknown): void {
  if (bytes instanceof Uint8Array) bytes.fill(poison);
}
