import { FirewallRefusedError, FirewallUnavailableError } from "../errors.ts";
import type { Native } from "./native.ts";

/** Runs nft commands in this process. A run is one transaction: all of it happens, or nothing. */
export interface Libnftables extends Disposable {
  /** Throws `FirewallRefusedError` when libnftables does not understand the commands, or the kernel refuses them. */
  run(commands: string): void;
  /** What a listing prints. Throws as `run`. */
  list(command: string): string;
}

/** Throws `FirewallUnavailableError` when no context can be had. */
export function openLibnftables(native: Native): Libnftables {
  const context = native.newContext(0);
  if (context === null) throw new FirewallUnavailableError("libnftables gives no context: out of memory?");
  native.bufferOutput(context);
  native.bufferError(context);
  let isOpen = true;
  const run = (commands: string): void => {
    if (!isOpen) throw new FirewallUnavailableError("the firewall was closed");
    if (native.runCommands(context, commands) === 0) return;
    throw new FirewallRefusedError(
      `The kernel refused a change to the firewall: ${firstComplaint(native.errorBuffer(context))}.`,
    );
  };
  return {
    run,
    list(command) {
      run(command);
      return native.outputBuffer(context) ?? "";
    },
    [Symbol.dispose]() {
      if (isOpen) native.freeContext(context);
      isOpen = false;
    },
  };
}

/** `Error: Could not process rule: No such file or directory` of the lines that point into the commands. */
function firstComplaint(text: string | null): string {
  const [, complaint] = /^.*?Error: (.*)$/m.exec(text ?? "") ?? [];
  return complaint ?? text?.trim() ?? "no reason given";
}
