import { errorText } from "@postern/core/errors";

import { FirewallUnavailableError } from "../errors.ts";
import { openLibnftables } from "./libnftables.ts";
import { loadNative } from "./native.ts";

/** Why this process cannot use the kernel's firewall; `undefined` when it can. Changes nothing. */
export async function firewallUnavailable(): Promise<string | undefined> {
  try {
    using commands = openLibnftables(await loadNative());
    commands.run("list tables");
    return undefined;
  } catch (thrown) {
    if (thrown instanceof FirewallUnavailableError) return thrown.message;
    return `The kernel has no nftables, or keeps them from this process: ${errorText(thrown)}`;
  }
}
