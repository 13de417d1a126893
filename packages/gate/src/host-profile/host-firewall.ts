import { FirewallRefusedError, FirewallUnavailableError } from "../errors.ts";
import { KernelTable } from "../nftables/kernel-table.ts";
import { openLibnftables, type Libnftables } from "../nftables/libnftables.ts";
import { loadNative } from "../nftables/native.ts";
import { openNetlink, type Netlink } from "../nftables/netlink.ts";
import { tableName } from "../nftables/ruleset.ts";
import {
  confirmation,
  forgetting,
  inForceSet,
  otherSlot,
  profileTable,
  removal,
  slots,
  triedSet,
  trialCommands,
  type HostProfile,
  type Slot,
} from "./profile.ts";

/**
 * Whether a profile is in force. `over`: it was tried and not confirmed, so that all is let through again; `restored`: so that the one
 * that was confirmed before is in force again.
 */
export type ProfileState =
  | { readonly kind: "absent" }
  | {
      readonly kind: "trial";
      readonly remainingSeconds: number;
      /** What comes after, unless this is confirmed. */
      readonly otherwise: "open" | "confirmed";
    }
  | { readonly kind: "confirmed" }
  | { readonly kind: "restored" }
  | { readonly kind: "over" };

/** The machine's profile in the kernel. Of short life: the kernel keeps it, and time, by itself. */
export interface HostFirewall extends Disposable {
  state(): ProfileState;
  /** Whether a gate has put its own rules in place, which hide services. */
  gateIsInForce(): boolean;
  /** Puts the profile in force for a time, in the place of any other; one that was confirmed comes back after it. */
  tryOut(profile: HostProfile, seconds: number): void;
  /** Keeps the profile that is tried. Throws `FirewallRefusedError` when none is. */
  confirm(): void;
  /** What is confirmed, exactly as the kernel has it, as a file for `nft -f`. Throws `FirewallRefusedError` when nothing is, or another is tried. */
  save(): string;
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

type Held = "nothing" | "confirmed" | { readonly remainingMs: number };

function hostFirewall(commands: Libnftables, netlink: Netlink): HostFirewall {
  const table = new KernelTable(netlink, profileTable);

  function held(slot: Slot): Held {
    const left = (table.elements(inForceSet(slot)) ?? []).map(({ remainingMs }) => remainingMs);
    if (left.length === 0) return "nothing";
    const remainingMs = Math.min(...left.map((value) => value ?? Infinity));
    return remainingMs === Infinity ? "confirmed" : { remainingMs };
  }

  function slotOf(which: (held: Held) => boolean): Slot | undefined {
    return slots.find((slot) => which(held(slot)));
  }

  const confirmedSlot = (): Slot | undefined => slotOf((found) => found === "confirmed");
  const trialSlot = (): Slot | undefined => slotOf((found) => typeof found === "object");

  function state(): ProfileState {
    if (!table.exists()) return { kind: "absent" };
    const all = slots.map(held);
    const isConfirmed = all.includes("confirmed");
    const trial = all.find((found) => typeof found === "object");
    if (trial !== undefined) {
      const remainingSeconds = Math.ceil(trial.remainingMs / 1_000);
      return { kind: "trial", remainingSeconds, otherwise: isConfirmed ? "confirmed" : "open" };
    }
    if (!isConfirmed) return { kind: "over" };
    return { kind: (table.elements(triedSet) ?? []).length > 0 ? "restored" : "confirmed" };
  }

  return {
    state,
    gateIsInForce: () => new KernelTable(netlink, tableName).exists(),
    tryOut(profile, seconds) {
      const confirmed = confirmedSlot();
      commands.run(trialCommands(profile, confirmed === undefined ? "a" : otherSlot(confirmed), seconds));
    },
    confirm() {
      const { kind } = state();
      const slot = trialSlot();
      if (kind === "confirmed") return;
      if (kind !== "trial" || slot === undefined) throw new FirewallRefusedError(nothingToConfirm[kind]);
      commands.run(confirmation(slot));
    },
    save() {
      const { kind } = state();
      const slot = confirmedSlot();
      if (kind === "trial" || slot === undefined) throw new FirewallRefusedError(nothingToSave[kind]);
      if (kind === "restored") commands.run(forgetting(otherSlot(slot)));
      return removal + commands.list(`list table inet ${profileTable}`);
    },
    remove() {
      commands.run(removal);
    },
    [Symbol.dispose]() {
      commands[Symbol.dispose]();
      netlink[Symbol.dispose]();
    },
  };
}

const again = "Apply it once more.";
const late = "the profile was not confirmed in time";
const nothingToConfirm: Readonly<Record<Exclude<ProfileState["kind"], "confirmed">, string>> = {
  absent: "There is nothing to confirm: no profile was applied.",
  trial: `There is nothing to confirm: ${late}. ${again}`,
  over: `There is nothing to confirm: ${late}, and all is let through again. ${again}`,
  restored: `There is nothing to confirm: ${late}, and the one that was confirmed before is in force again. ${again}`,
};
const nothingToSave: Readonly<Record<ProfileState["kind"], string>> = {
  absent: "There is nothing to save: no profile was applied.",
  trial: "The profile that is in force is only tried: confirm it, then save it.",
  confirmed: "There is nothing to save: the profile was removed meanwhile.",
  restored: "There is nothing to save: the profile was removed meanwhile.",
  over: `There is nothing to save: ${late}. ${again}`,
};
