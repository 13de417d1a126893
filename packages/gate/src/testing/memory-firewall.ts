import type { Clock } from "@postern/core/clock";
import type { IpAddress, IpSource } from "@postern/knock/ip-address";
import { ipSource } from "@postern/knock/ip-address";

import { FirewallBook } from "../firewall-book.ts";
import type { BannedSource, Firewall, KernelWindow, WindowTarget } from "../firewall.ts";

/** A firewall that only keeps the book: what the kernel would let through, on a clock that tests move. */
export class MemoryFirewall implements Firewall {
  readonly #book: FirewallBook;

  constructor({
    clock,
    windowsMax = 1_000,
    bansMax = 1_000,
  }: {
    clock: Clock;
    windowsMax?: number;
    bansMax?: number;
  }) {
    this.#book = new FirewallBook({ clock, windowsMax, bansMax });
  }

  async openWindow({ source, sourcePort, ports }: WindowTarget, seconds: number): Promise<void> {
    for (const port of ports) this.#book.open({ source, sourcePort, port }, seconds);
  }

  async closeWindow({ source, sourcePort, ports }: WindowTarget): Promise<void> {
    for (const port of ports) this.#book.close({ source, sourcePort, port });
  }

  async ban(source: IpSource, seconds: number): Promise<void> {
    this.#book.ban(source, seconds);
  }

  async unban(source: IpSource): Promise<void> {
    this.#book.unban(source);
  }

  async listWindows(): Promise<readonly KernelWindow[]> {
    return this.#book.windows();
  }

  async listBans(): Promise<readonly BannedSource[]> {
    return this.#book.bans();
  }

  /** What becomes of a new connection. */
  admits(source: IpAddress, sourcePort: number, port: number): "open" | "hidden" | "banned" {
    const isOpen = this.#book
      .windows()
      .some(
        (window) =>
          window.source === source && window.port === port && [0, sourcePort].includes(window.sourcePort),
      );
    if (isOpen) return "open";
    return this.#book.bans().some((ban) => ban.source === ipSource(source)) ? "banned" : "hidden";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#book.clear();
  }
}
