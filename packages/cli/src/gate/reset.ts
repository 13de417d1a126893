import { systemClock } from "@postern/core/clock";
import { askGate } from "@postern/gate/link/operator-link";
import { NftablesFirewall } from "@postern/gate/nftables/nftables-firewall";
import { dataDirectoryAt } from "@postern/identity/data-directory";

import { unixSocketPath } from "../admin/socket-path.ts";
import { resolveDataDirectory } from "../config/select.ts";
import type { CommandContext } from "../context.ts";
import { UsageError } from "../errors.ts";
import { gateSocketName } from "./gate-files.ts";
import type { GateOptions } from "./operate.ts";

/**
 * Takes the gate's rules out of the kernel, where they stay when a gate ends: what they hid can be seen again. @throws {UsageError}
 * while a gate runs, which would put them back, `FirewallUnavailableError` without the right to it.
 */
export async function resetGate(options: GateOptions, context: CommandContext): Promise<void> {
  if (await gateRuns(options, context)) {
    throw new UsageError("A gate is running and would put its rules back: stop it first, with postern down.");
  }
  await using firewall = await NftablesFirewall.open({ clock: systemClock });
  firewall.remove();
  context.stdout.write("The gate's rules are removed: whatever listens on the ports they hid can be seen.\n");
}

async function gateRuns({ data }: GateOptions, { cwd }: CommandContext): Promise<boolean> {
  try {
    const { run } = dataDirectoryAt(resolveDataDirectory(data, cwd));
    using socket = unixSocketPath(run, gateSocketName, cwd);
    await askGate(socket.path, { kind: "status" });
    return true;
  } catch {
    return false;
  }
}
