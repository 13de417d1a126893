import type { IpAddress } from "@postern/knock/ip-address";

import type { WindowTarget } from "./firewall.ts";

/** Windows that are open at once, in all. */
export const windowsMax = 65_536;
/** And for one device: it has few places to connect from. */
export const windowsPerDeviceMax = 8;

/** Who may connect from where, until when. */
export interface Window extends WindowTarget {
  readonly id: number;
  /** The device that knocked; `undefined` for a knock that names none (fwknop, the thesis's packet): then anybody who authenticates. */
  readonly device: string | undefined;
  readonly certBind: Uint8Array | undefined;
  readonly untilMs: number;
  /** Connections of the device after which the window closes: one for each knock. */
  readonly uses: number;
  /** The window that this one took the place of. */
  readonly replaces: number | undefined;
}

export type WindowRequest = Omit<Window, "id" | "uses" | "replaces">;

/** What the kernel is to do after a change of the table: nothing more is open for the target, or it is until then. */
export interface KernelChange {
  readonly target: WindowTarget;
  readonly untilMs: number | undefined;
}

/**
 * The open windows, and what is on its way to be opened. One device has one window for each address and port it knocks from; knocking
 * again makes it last longer. Several devices behind one address each have their own, while the kernel knows one for them all.
 */
export class WindowTable {
  readonly #byKey = new Map<string, Window>();
  readonly #byAddress = new Map<IpAddress, Map<string, Window>>();
  readonly #countOf = new Map<string, number>();
  #nextId = 1;

  get size(): number {
    return this.#byKey.size;
  }

  [Symbol.iterator](): IterableIterator<Window> {
    return this.#byKey.values();
  }

  /** Puts a window in, in place of the one that the same device had there; `undefined` when there are too many. */
  open(request: WindowRequest): Window | undefined {
    const key = keyOf(request);
    const old = this.#byKey.get(key);
    const ofDevice = this.#countOf.get(request.device ?? "") ?? 0;
    if (old === undefined && this.#byKey.size >= windowsMax) return undefined;
    if (old === undefined && request.device !== undefined && ofDevice >= windowsPerDeviceMax)
      return undefined;
    const ports = [...new Set([...(old?.ports ?? []), ...request.ports])];
    const untilMs = Math.max(old?.untilMs ?? 0, request.untilMs);
    const uses = (old?.uses ?? 0) + 1;
    const window = { ...request, ports, untilMs, uses, id: this.#nextId++, replaces: old?.id };
    if (old !== undefined) this.#remove(key, old);
    this.#put(key, window);
    return window;
  }

  /** Whether it is still in the table: it may have been closed while it was being opened. */
  has(window: Window): boolean {
    return this.#byKey.get(keyOf(window)) === window;
  }

  /** The device is connected from there: one use less. @returns the windows that this closes. */
  use(device: string, address: IpAddress): Window[] {
    const closed: Window[] = [];
    for (const [key, window] of this.#byAddress.get(address) ?? []) {
      if (window.device !== device && window.device !== undefined) continue;
      if (window.uses <= 1) closed.push(window);
      this.#remove(key, window);
      if (window.uses > 1) this.#put(key, { ...window, uses: window.uses - 1 });
      return closed;
    }
    return closed;
  }

  /** Takes out what `which` says. @returns what was taken out. */
  close(which: (window: Window) => boolean): Window[] {
    const closed = [...this.#byKey].filter(([, window]) => which(window));
    for (const [key, window] of closed) this.#remove(key, window);
    return closed.map(([, window]) => window);
  }

  /** What the kernel is to do now that a window is no longer in the table: other windows may want the same of it. */
  afterClosing({ source, sourcePort, ports }: Window): KernelChange[] {
    const others = [...(this.#byAddress.get(source)?.values() ?? [])].filter(
      (other) => other.sourcePort === sourcePort,
    );
    return ports.map((port) => {
      const until = others.filter((other) => other.ports.includes(port)).map(({ untilMs }) => untilMs);
      return {
        target: { source, sourcePort, ports: [port] },
        untilMs: until.length === 0 ? undefined : Math.max(...until),
      };
    });
  }

  #put(key: string, window: Window): void {
    this.#byKey.set(key, window);
    const atAddress = this.#byAddress.get(window.source) ?? new Map<string, Window>();
    atAddress.set(key, window);
    this.#byAddress.set(window.source, atAddress);
    this.#countOf.set(window.device ?? "", (this.#countOf.get(window.device ?? "") ?? 0) + 1);
  }

  #remove(key: string, window: Window): void {
    this.#byKey.delete(key);
    const atAddress = this.#byAddress.get(window.source);
    atAddress?.delete(key);
    if (atAddress?.size === 0) this.#byAddress.delete(window.source);
    const left = (this.#countOf.get(window.device ?? "") ?? 1) - 1;
    if (left === 0) this.#countOf.delete(window.device ?? "");
    else this.#countOf.set(window.device ?? "", left);
  }
}

function keyOf({ device, source, sourcePort }: Pick<Window, "device" | "source" | "sourcePort">): string {
  return `${source}|${sourcePort}|${device ?? ""}`;
}
