import { BlockList, isIPv6, type Socket } from "node:net";

import type { BrokerContext } from "../context.ts";
import type { Limits } from "../limits.ts";

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** Counts connections, in all and for each address, from the first packet on: before TLS, before CONNECT. */
export class Admission {
  readonly #context: BrokerContext;
  readonly #perAddress = new Map<string, number>();

  constructor(context: BrokerContext) {
    this.#context = context;
  }

  /**
   * Lets the socket in, or cuts it and returns false. Addresses of this machine itself (loopback, Unix sockets) are
   * counted only where `perLoopback` says so: there one address stands for many programs.
   */
  admit(socket: Socket, limits: Limits, perLoopback: boolean): boolean {
    const { stats } = this.#context;
    const address = socket.remoteAddress ?? "";
    const counts = perLoopback || !isLoopback(address);
    const ofAddress = this.#perAddress.get(address) ?? 0;
    if (
      this.#context.closing ||
      this.#context.connectionCount >= this.#context.limits.connectionsMax ||
      (counts && ofAddress >= limits.connectionsPerAddressMax)
    ) {
      stats.connectionsRefused += 1;
      socket.destroy();
      return false;
    }
    stats.connectionsAccepted += 1;
    this.#context.connectionCount += 1;
    if (counts) this.#perAddress.set(address, ofAddress + 1);
    socket.once("close", () => this.#leave(address, counts));
    return true;
  }

  #leave(address: string, counted: boolean): void {
    this.#context.connectionCount -= 1;
    if (!counted) return;
    const left = (this.#perAddress.get(address) ?? 1) - 1;
    if (left === 0) this.#perAddress.delete(address);
    else this.#perAddress.set(address, left);
  }
}

/** Whether an address is the machine's own; IPv4 addresses may be written as IPv6. */
function isLoopback(address: string): boolean {
  if (address === "") return true;
  const plain = address.startsWith("::ffff:") ? address.slice("::ffff:".length) : address;
  return loopback.check(plain, isIPv6(plain) ? "ipv6" : "ipv4");
}
