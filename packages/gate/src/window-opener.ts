import type { Clock } from "@postern/core/clock";
import { errorText } from "@postern/core/errors";
import type { Log } from "@postern/core/log";
import type { IpAddress } from "@postern/knock/ip-address";
import type { AcceptedKnock } from "@postern/knock/verdict";

import type { AcceptedMemory } from "./accepted-memory.ts";
import type { Firewall } from "./firewall.ts";
import { monotonicMs, publishTrace, type KnockTrace } from "./knock-trace.ts";
import type { FromGateInput } from "./link/messages.ts";
import { WindowTable, type Window } from "./window-table.ts";

type WindowMessage = Extract<FromGateInput, { kind: "window" }>;

/** The server, as far as windows go. */
export interface WindowAudience {
  /** Tells of a window. @returns whether the server said that it knows. */
  announce(message: WindowMessage): Promise<boolean>;
  /** Tells that a window is closed. */
  closed(id: number): void;
}

export interface WindowOpenerParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly firewall: Firewall;
  readonly memory: AcceptedMemory;
  readonly audience: WindowAudience;
}

/** What became of an accepted knock. */
export type KnockOutcome = "opened" | "closed" | "failed";

/**
 * Carries out accepted knocks, and closes what was opened. In this order:
 *
 *   1. what was accepted is kept, so that it is never accepted again, and
 *   2. the server knows who may come from where until when;
 *   3. then the kernel opens.
 */
export class WindowOpener {
  readonly #parts: WindowOpenerParts;
  readonly #windows = new WindowTable();
  #closed = false;

  constructor(parts: WindowOpenerParts) {
    this.#parts = parts;
  }

  /** Those whose time is not over, the first to close first. */
  open(nowMs: number): Window[] {
    return [...this.#windows]
      .filter(({ untilMs }) => untilMs > nowMs)
      .sort((one, other) => one.untilMs - other.untilMs);
  }

  /** `owner` is the device that alone may use the window; `undefined` for whoever authenticates. Rejects when the disk or the kernel refuses. */
  async carryOut(
    knock: AcceptedKnock,
    owner: string | undefined,
    nowMs: number,
    trace: KnockTrace | undefined,
  ): Promise<KnockOutcome> {
    const { memory, log } = this.#parts;
    const { device, address, sourcePort, ports, windowSeconds, certBind, action, madeAtMs } = knock;
    if (action === "close") {
      await memory.hold(madeAtMs);
      await this.close((window) => window.device === owner && window.source === address);
      return "closed";
    }
    const untilMs = nowMs + windowSeconds * 1_000;
    const request = { device: owner, source: address, sourcePort, ports, certBind, untilMs };
    const window = this.#windows.open(request);
    if (window === undefined) {
      log.warn({ device, address }, "as many windows are open as there may be");
      return "failed";
    }
    try {
      return await this.#open(window, madeAtMs, trace);
    } catch (thrown) {
      await this.close((other) => other === window);
      throw thrown;
    }
  }

  /** Closes what `which` says, for the kernel and for the server. */
  async close(which: (window: Window) => boolean): Promise<void> {
    await Promise.all(this.#windows.close(which).map((window) => this.#close(window)));
  }

  /** The device is connected from there: windows that are for one connection close. */
  async use(device: string, address: IpAddress): Promise<void> {
    await Promise.all(this.#windows.use(device, address).map((window) => this.#close(window)));
  }

  /** Forgets those whose time is over. The kernel has let go of them by itself. */
  expire(nowMs: number): void {
    for (const { id } of this.#windows.close(({ untilMs }) => untilMs <= nowMs))
      this.#parts.audience.closed(id);
  }

  /**
   * Windows of a gate that was killed: nobody knows any more who they are for, so that the broker lets nobody in through them. Whoever
   * connected before his new knock has arrived would be let through by the kernel and cut off by the broker.
   */
  async closeLeftOver(): Promise<void> {
    const { firewall } = this.#parts;
    const leftOver = await firewall.listWindows();
    await Promise.all(
      leftOver.map(({ source, sourcePort, port }) =>
        firewall.closeWindow({ source, sourcePort, ports: [port] }),
      ),
    );
  }

  /** Opens nothing more. Nobody who knocked is known to the next gate: what it cannot know of must not stay open. */
  async end(): Promise<void> {
    this.#closed = true;
    const closing = this.#windows.close(() => true).map((window) => this.#closeInKernel(window));
    await Promise.all(closing);
  }

  async #open(
    window: Window,
    madeAtMs: number | undefined,
    trace: KnockTrace | undefined,
  ): Promise<KnockOutcome> {
    const { firewall, log, clock } = this.#parts;
    // The server is told first: it reads while the memory is written.
    const [known] = await Promise.all([this.#announce(window, trace), this.#hold(madeAtMs, trace)]);
    if (!known) {
      const { device, source } = window;
      log.error({ device, source }, "the server does not know of the window and so it is not opened");
      await this.close((other) => other === window);
      return "failed";
    }
    // It may have been closed, or replaced by a later knock, while the disk and the server took their time.
    if (this.#closed || !this.#windows.has(window)) return "opened";
    const seconds = (window.untilMs - clock.wallMs()) / 1_000;
    if (seconds <= 0) return "failed";
    await firewall.openWindow(window, seconds);
    if (trace !== undefined) publishTrace(trace);
    // A revocation while the kernel was at work finds nothing to close, and is made good here.
    if (!this.#windows.has(window)) await this.#closeInKernel(window);
    return "opened";
  }

  async #hold(madeAtMs: number | undefined, trace: KnockTrace | undefined): Promise<void> {
    await this.#parts.memory.hold(madeAtMs);
    if (trace !== undefined) trace.heldMs = monotonicMs();
  }

  async #announce(window: Window, trace: KnockTrace | undefined): Promise<boolean> {
    const known = await this.#parts.audience.announce(windowMessage(window));
    if (trace !== undefined) trace.toldMs = monotonicMs();
    return known;
  }

  async #close(window: Window): Promise<void> {
    this.#parts.audience.closed(window.id);
    await this.#closeInKernel(window);
  }

  /** What other windows still want of the kernel stays open for as long as they do. */
  async #closeInKernel(window: Window): Promise<void> {
    const { firewall, clock, log } = this.#parts;
    const nowMs = clock.wallMs();
    for (const { target, untilMs } of this.#windows.afterClosing(window)) {
      const seconds = untilMs === undefined ? 0 : (untilMs - nowMs) / 1_000;
      try {
        if (seconds > 0) await firewall.openWindow(target, seconds);
        else await firewall.closeWindow(target);
      } catch (thrown) {
        log.error(
          { ...target, error: errorText(thrown) },
          "a window could not be closed; it closes when its time is over",
        );
      }
    }
  }
}

/** What the server is told of a window. */
export function windowMessage(window: Window): WindowMessage {
  const { id, replaces, device, source, certBind, untilMs } = window;
  return {
    kind: "window",
    id,
    replaces: replaces ?? null,
    device: device ?? null,
    address: source,
    certBind: certBind === undefined ? null : Buffer.from(certBind).toString("hex"),
    untilMs: Math.ceil(untilMs),
  };
}
