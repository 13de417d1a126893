import type { Clock } from "@postern/core/clock";
import type { IpSource } from "@postern/knock/ip-address";

import { FirewallUnavailableError } from "../errors.ts";
import { FirewallBook, type Opening } from "../firewall-book.ts";
import type { BannedSource, Firewall, KernelWindow, WindowTarget } from "../firewall.ts";
import type { GuardPlan } from "../guard-plan.ts";
import {
  banElement,
  dropCommands,
  openingElement,
  openingOfKey,
  putCommands,
  sourceOfKey,
  type Element,
} from "./elements.ts";
import { compareTimed } from "./compare-timed.ts";
import { KernelTable } from "./kernel-table.ts";
import { openLibnftables, type Libnftables } from "./libnftables.ts";
import { loadNative, type Native } from "./native.ts";
import { openNetlink, type Netlink } from "./netlink.ts";
import { bansMax, removalCommands, rulesetCommands, sets, tableName, windowsMax } from "./ruleset.ts";

/** A look at the kernel's rules. `exposed`: they are not ours and could not be made ours, so hidden ports may be open. */
export type Inspection =
  | { readonly kind: "intact" }
  | { readonly kind: "repaired"; readonly found: string }
  | { readonly kind: "exposed"; readonly found: string; readonly cause: unknown };

/** The first 8 bytes of a device's knock packets in an hour, and how long the kernel shall know them. */
export type KnownHint = {
  readonly hint: Uint8Array;
  readonly seconds: number;
  /** It may be known already, and is to be known for longer. */
  readonly again?: boolean;
};

export type NftablesOptions = { readonly clock: Clock };

/** Changes of one turn of the event loop are one transaction; more than this are several. */
const batchMax = 512;

/** Some thousand hints are told in an hour's first seconds, and knocks must not wait for them. */
const hintsPerBatch = 16;

const sweepIntervalMs = 5_000;

type Change = {
  readonly commands: string;
  /** Takes it out of the book again, when the kernel does not want it. */
  readonly undo: () => void;
  readonly settle: { readonly resolve: () => void; readonly reject: (thrown: unknown) => void };
};

/**
 * Hides ports with nftables. The rules stay when this process ends, so that what is hidden stays hidden; only `remove`
 * takes them away.
 */
export class NftablesFirewall implements Firewall {
  readonly #commands: Libnftables;
  readonly #netlink: Netlink;
  readonly #table: KernelTable;
  readonly #book: FirewallBook;
  readonly #clock: Clock;
  #plan: GuardPlan | undefined;
  #fingerprint: string | undefined;
  #generation = 0;
  #suspect = false;
  #sweptAtMs = 0;
  #waiting: Change[] = [];

  private constructor(native: Native, { clock }: NftablesOptions) {
    this.#netlink = openNetlink(native);
    this.#commands = openLibnftables(native);
    this.#table = new KernelTable(this.#netlink, tableName);
    this.#clock = clock;
    this.#book = new FirewallBook({ clock, windowsMax, bansMax });
  }

  /** Changes nothing yet. Rejects with `FirewallUnavailableError` where this process may not use nftables. */
  static async open(options: NftablesOptions): Promise<NftablesFirewall> {
    const firewall = new NftablesFirewall(await loadNative(), options);
    try {
      firewall.#commands.run("list tables");
    } catch (thrown) {
      await firewall[Symbol.asyncDispose]();
      throw new FirewallUnavailableError(
        "This process may not use nftables: it needs root or the capability CAP_NET_ADMIN, and a kernel with nf_tables.",
        { cause: thrown },
      );
    }
    return firewall;
  }

  /**
   * Hides what the plan says, in one transaction: a table that is there already, of an earlier run or another plan, gives
   * way without a moment in between. Its windows and bans are taken over with the time they have left.
   */
  hide(plan: GuardPlan): void {
    this.flush();
    if (this.#plan === undefined) this.#takeOver();
    this.#install(plan);
    this.#plan = plan;
  }

  openWindow(target: WindowTarget, seconds: number): Promise<void> {
    const openings = openingsOf(target);
    const close = (): void => {
      for (const opening of openings) this.#book.close(opening);
    };
    return this.#change(() => {
      const commands = openings.map((opening) => putCommands(openingElement(opening), 1_000 * seconds));
      for (const opening of openings) this.#book.open(opening, seconds);
      return commands;
    }, close);
  }

  closeWindow(target: WindowTarget): Promise<void> {
    return this.#change(() => {
      const openings = openingsOf(target);
      const commands = openings.map((opening) => dropCommands(openingElement(opening)));
      for (const opening of openings) this.#book.close(opening);
      return commands;
    });
  }

  ban(source: IpSource, seconds: number): Promise<void> {
    return this.#change(
      () => {
        const put = putCommands(banElement(source), 1_000 * seconds);
        const oldest = this.#book.ban(source, seconds);
        return oldest === undefined ? [put] : [dropCommands(banElement(oldest)), put];
      },
      () => this.#book.unban(source),
    );
  }

  unban(source: IpSource): Promise<void> {
    return this.#change(() => {
      const commands = dropCommands(banElement(source));
      this.#book.unban(source);
      return [commands];
    });
  }

  /** Knock packets that begin with one of these do not count towards the limits for all others. */
  async addHints(hints: readonly KnownHint[]): Promise<void> {
    for (let at = 0; at < hints.length; at += hintsPerBatch) {
      const commands = hints.slice(at, at + hintsPerBatch).map(hintCommands);
      await this.#change(() => commands);
    }
  }

  /** As the kernel has them. */
  async listWindows(): Promise<readonly KernelWindow[]> {
    this.flush();
    return this.#kernelWindows();
  }

  /** As the kernel has them. */
  async listBans(): Promise<readonly BannedSource[]> {
    this.flush();
    return this.#kernelBans();
  }

  /** Packets by the names in `counters`, since the rules were put in place. */
  counts(): ReadonlyMap<string, number> {
    return this.#table.counters();
  }

  /** Sources whose rate of knock packets the kernel remembers: what a flood of invented ones makes it keep. */
  rememberedSources(): number {
    return ["rates4", "rates6"].reduce((sum, set) => sum + (this.#table.elements(set)?.length ?? 0), 0);
  }

  /**
   * Looks whether the rules, windows and bans are those we made, and mends what is not. Costs microseconds while nobody
   * changes any table of this network namespace.
   */
  inspect(): Inspection {
    const plan = this.#plan;
    if (plan === undefined) return { kind: "intact" };
    this.#sweepNowAndThen();
    let found = "rules that cannot be read";
    try {
      if (!this.#suspect && this.#table.generation() === this.#generation) return { kind: "intact" };
      this.#suspect = true;
      const difference = this.#difference();
      if (difference !== undefined) {
        found = difference;
        this.#installOrClose(plan);
      }
      this.#generation = this.#table.generation();
      this.#suspect = false;
      return difference === undefined ? { kind: "intact" } : { kind: "repaired", found };
    } catch (cause) {
      return { kind: "exposed", found, cause };
    }
  }

  /** Takes our rules away. Everything they hid is visible then. */
  remove(): void {
    this.flush();
    this.#plan = undefined;
    this.#commands.run(removalCommands);
  }

  /** Brings what was asked for to the kernel now instead of at the end of this turn. */
  flush(): void {
    const changes = this.#waiting;
    if (changes.length === 0) return;
    this.#waiting = [];
    try {
      this.#run(changes.map(({ commands }) => commands).join("\n"));
      for (const { settle } of changes) settle.resolve();
    } catch {
      // One bad change must not take the others with it.
      for (const { commands, undo, settle } of changes) {
        try {
          this.#run(commands);
          settle.resolve();
        } catch (thrown) {
          undo();
          this.#suspect = true;
          settle.reject(thrown);
        }
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.flush();
    } finally {
      this.#commands[Symbol.dispose]();
      this.#netlink[Symbol.dispose]();
    }
  }

  async #change(prepare: () => readonly string[], undo: () => void = () => {}): Promise<void> {
    if (this.#plan === undefined) throw new FirewallUnavailableError("the firewall hides nothing yet");
    const commands = prepare().join("\n");
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => this.flush());
      this.#waiting.push({ commands, undo, settle: { resolve, reject } });
      if (this.#waiting.length >= batchMax) this.flush();
    });
  }

  /** It looks at every window and ban. */
  #sweepNowAndThen(): void {
    const now = this.#clock.monotonicMs();
    if (now - this.#sweptAtMs < sweepIntervalMs) return;
    this.#sweptAtMs = now;
    this.#book.sweep();
  }

  /** One transaction of ours. The number of the last change tells whether others made some in between. */
  #run(commands: string): void {
    this.#commands.run(commands);
    const generation = this.#table.generation();
    if (generation !== (this.#generation + 1) >>> 0) this.#suspect = true;
    this.#generation = generation;
  }

  /** What cannot be hidden with its windows and bans is hidden without them. */
  #installOrClose(plan: GuardPlan): void {
    try {
      this.#install(plan);
    } catch {
      this.#book.clear();
      this.#install(plan);
    }
  }

  #install(plan: GuardPlan): void {
    const elements = [
      ...this.#book.windows().map((window) => putNew(openingElement(window), window.remainingSeconds)),
      ...this.#book.bans().map((ban) => putNew(banElement(ban.source), ban.remainingSeconds)),
    ];
    this.#commands.run([rulesetCommands(plan), ...elements].join("\n"));
    this.#fingerprint = this.#table.fingerprint();
    this.#generation = this.#table.generation();
  }

  /** What an earlier run left. An element without an end is not from us. */
  #takeOver(): void {
    for (const window of this.#kernelWindows()) {
      if (window.remainingSeconds < Infinity) this.#book.open(window, window.remainingSeconds);
    }
    for (const ban of this.#kernelBans()) {
      if (ban.remainingSeconds < Infinity) this.#book.ban(ban.source, ban.remainingSeconds);
    }
  }

  /** What is not as we made it, in words; `undefined` when all is. */
  #difference(): string | undefined {
    const fingerprint = this.#table.fingerprint();
    if (fingerprint === undefined) return "the table is gone";
    if (fingerprint !== this.#fingerprint) return "rules or sets were changed";
    const windows = compareTimed(this.#kernelWindows(), this.#book.windows(), openingKey);
    if (windows !== undefined) return `a window was ${windows === "more" ? "opened or kept open" : "closed"}`;
    const bans = compareTimed(this.#kernelBans(), this.#book.bans(), ({ source }) => source);
    if (bans !== undefined) return `a ban was ${bans === "more" ? "added or prolonged" : "lifted"}`;
    return undefined;
  }

  #kernelWindows(): KernelWindow[] {
    return [...Object.values(sets.windows), ...Object.values(sets.exactWindows)].flatMap((set) =>
      (this.#table.elements(set) ?? []).flatMap(({ key, remainingMs = Infinity }) => {
        const opening = openingOfKey(key);
        return opening === undefined ? [] : [{ ...opening, remainingSeconds: remainingMs / 1_000 }];
      }),
    );
  }

  #kernelBans(): BannedSource[] {
    return Object.values(sets.bans).flatMap((set) =>
      (this.#table.elements(set) ?? []).flatMap(({ key, remainingMs = Infinity }) => {
        const source = sourceOfKey(key);
        return source === undefined ? [] : [{ source, remainingSeconds: remainingMs / 1_000 }];
      }),
    );
  }
}

function openingKey({ source, sourcePort, port }: Opening): string {
  return `${source} ${sourcePort} ${port}`;
}

function openingsOf({ source, sourcePort, ports }: WindowTarget): Opening[] {
  return ports.map((port) => ({ source, sourcePort, port }));
}

function putNew({ set, text }: Element, seconds: number): string {
  return `add element inet ${tableName} ${set} { ${text} timeout ${Math.max(1, Math.round(1_000 * seconds))}ms }`;
}

/** A new hint is put in with a third of what it costs to make one last longer. */
function hintCommands({ hint, seconds, again = false }: KnownHint): string {
  if (hint.length !== 8) throw new RangeError(`a hint has 8 bytes, not ${hint.length}`);
  const element = { set: sets.hints, text: `0x${Buffer.from(hint).toString("hex")}` };
  return again ? putCommands(element, 1_000 * seconds) : putNew(element, seconds);
}
