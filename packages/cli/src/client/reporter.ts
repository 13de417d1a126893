import type { Reporter } from "@postern/device/connection";
import { visible } from "@postern/device/visible";

import type { CommandContext } from "../context.ts";

/** Notices, and with `verbose` details, as lines on stderr. */
export function stderrReporter(context: Pick<CommandContext, "stderr">, verbose: boolean): Reporter {
  const say = (text: string) => {
    // Topics, names and reasons in it are of others.
    context.stderr.write(`postern: ${visible(text)}\n`);
  };
  return { notice: say, detail: verbose ? say : () => {} };
}
