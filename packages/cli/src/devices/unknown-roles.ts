import { errorText } from "@postern/core/errors";
import { nearest } from "@postern/core/nearest";
import type { DataDirectory } from "@postern/identity/data-directory";
import { readPolicyFile } from "@postern/identity/permissions/policy-file";

import type { CommandContext } from "../context.ts";

/** A role that the permissions file has not is a slip of somebody's fingers, or still to be written: says so, for it permits nothing. */
export function warnOfUnknownRoles(
  roles: readonly string[],
  { permissions }: Pick<DataDirectory, "permissions">,
  { stderr }: Pick<CommandContext, "stderr">,
): void {
  if (roles.length === 0) return;
  const warn = (text: string): void => void stderr.write(`postern: warning: ${text}\n`);
  let known: readonly string[];
  try {
    known = [...readPolicyFile(permissions, permissions).policy.roles.keys()];
  } catch (thrown) {
    warn(`whether its roles permit anything cannot be said: ${errorText(thrown)}`);
    return;
  }
  for (const role of roles) {
    if (known.includes(role)) continue;
    const near = nearest(role, known);
    const mend = near === undefined ? "" : `: did you mean "${near}"?`;
    warn(`the role "${role}" is not in ${permissions} and permits nothing${mend}`);
  }
}
