import { FirewallRefusedError, FirewallUnavailableError } from "../errors.ts";
import { KernelTable } from "../nftables/kernel-table.ts";
import { openLibnftables, type Libnftables } from "../nftables/libnftables.ts";
import { loadNative } from "../nftables/native.ts";
import { openNetlink, type Netlink } from "../nftables/netlink.ts";
import { tableName } from "../nftables/ruleset.ts";
import { profileRuleset, profileTable, trialSet, type HostProfile } from "./profile.ts";

/** Whether a profile is in force. `over`: it was tried and not confirmed, so that all is let through again. */
export type ProfileState =
  | { readonly kind: "absent" }
  | { readonly kind: "trial"; readonly remainingSeconds: number }
  | { readonly kind: "confirmed" }
  | { readonly kind: "over" };

/** The machine's profile in the kernel. Of short life: the kernel keeps it, and time, by itself. */
export interface HostFirewall extends Disposable {
  state(): ProfileState;
  /** Whether a gate has put its own rules in place, which hide services. */
  gateIsInForce(): boolean;
  /** Puts the profile in force for a time, in the place of any other. */
  tryOut(profile: HostProfile, seconds: number): void;
  /** Keeps the profile that is tried. Throws `FirewallRefusedError` when none is. */
  confirm(): void;
  /** All is let through again. */
  remove(): void;
}

/** Rejects with `FirewallUnavailableError` where this process may not use nftables. */
export async function openHostFirewall(): Promise<HostFirewall> {
  const native = await loadNative();
  const netlink = openNetlink(native);
  const commands = openLibnftables(native);
  try {
    commands.run("list tables");
  } catch (cause) {
    commands[Symbol.dispose]();
    netlink[Symbol.dispose]();
    throw new FirewallUnavailableError("This user may not change the machine's firewall: run it as root.", {
      cause,
    });
  }
  return hostFirewall(commands, netlink);
}

function hostFirewall(commands: Libnftables, netlink: Netlink): HostFirewall {
  const table = new KernelTable(netlink, profileTable);

  function state(): ProfileState {
    const elements = table.elements(trialSet);
    if (elements === undefined) return { kind: "absent" };
    const left = elements.map(({ remainingMs }) => remainingMs);
    if (left.length === 0) return { kind: "over" };
    const ms = Math.min(...left.map((value) => value ?? Infinity));
    return ms === Infinity
      ? { kind: "confirmed" }
      : { kind: "trial", remainingSeconds: Math.ceil(ms / 1_000) };
  }

  return {
    state,
    gateIsInForce: () => new KernelTable(netlink, tableName).exists(),
    tryOut(profile, seconds) {
      commands.run(profileRuleset(profile, seconds));
    },
    confirm() {
      const { kind } = state();
      if (kind === "confirmed") return;
      if (kind !== "trial") throw new FirewallRefusedError(nothingToConfirm[kind]);
      const both = `inet ${profileTable} ${trialSet} { ipv4, ipv6 }`;
      commands.run(`delete element ${both}\nadd element ${both}`);
    },
    remove() {
      commands.run(`add table inet ${profileTable}\ndelete table inet ${profileTable}`);
    },
    [Symbol.dispose]() {
      commands[Symbol.dispose]();
      netlink[Symbol.dispose]();
    },
  };
}

const nothingToConfirm = {
  absent: "There is nothing to confirm: no profile was applied.",
  over: "There is nothing to confirm: the profile was not confirmed in time, and all is let through again. Apply it once more.",
} as const;
