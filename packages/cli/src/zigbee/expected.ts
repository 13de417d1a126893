import { resolve } from "node:path";

import type { Expectations } from "@postern/audit/zigbee/expectations";

import type { CommandContext } from "../context.ts";

/**
 * What the inventory `name` says should be there, or `undefined` without one. What checks an inventory is loaded only for one: it is
 * two in five of all modules. Throws `UsageError` with the place of a mistake.
 */
export async function loadExpected(
  name: string | undefined,
  context: Pick<CommandContext, "cwd">,
): Promise<Expectations | undefined> {
  if (name === undefined) return undefined;
  const { loadInventory } = await import("./inventory.ts");
  return loadInventory(resolve(context.cwd, name), name);
}
