import type { Reporter } from "@postern/device/connection";

import type { CommandContext } from "../context.ts";

/** Notices, and with `verbose` details, as lines on stderr. */
export function stderrReporter(context: Pick<CommandContext, "stderr">, verbose: boolean): Reporter {
  const say = (text: string) => {
    context.stderr.write(`postern: ${text}\n`);
  };
  return { notice: say, detail: verbose ? say : () => {} };
}
