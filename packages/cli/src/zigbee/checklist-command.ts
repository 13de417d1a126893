import { resolve } from "node:path";

import { auditZigbee } from "@postern/audit/zigbee/audit";
import { checkPractices } from "@postern/audit/zigbee/checklist";

import type { CommandContext } from "../context.ts";
import { ExitCode } from "../errors.ts";
import { wrongKeysText } from "./audit-command.ts";
import { openCapture } from "./capture-source.ts";
import { loadExpected } from "./expected.ts";
import { createKeyring } from "./keys.ts";
import { Progress } from "./progress.ts";
import { RepeatedCapture } from "./read-capture.ts";

/** The options of `postern zigbee checklist`, as they stand on the command line. */
export interface ChecklistCommandOptions {
  readonly keyFile?: string;
  readonly inventory?: string;
  readonly json?: boolean;
}

/** Says of each best practice of the thesis whether a capture shows that it is kept. Ends with 1 when one is not. */
export async function checklistCommand(
  file: string,
  options: ChecklistCommandOptions,
  context: CommandContext,
): Promise<void> {
  const { keyFile } = options;
  const keyring = createKeyring({
    keys: [],
    installCodes: [],
    file: keyFile === undefined ? undefined : resolve(context.cwd, keyFile),
  });
  const expected = await loadExpected(options.inventory, context);
  const interruption = context.interruption();
  let signal = interruption;
  try {
    await using source = await openCapture(file, context, interruption);
    ({ signal } = source);
    const progress = new Progress(context.stderr, source.fileBytes, () => performance.now());
    const capture = new RepeatedCapture({ source, keyring, signal, progress, frameCheck: undefined });
    const report = await auditZigbee({
      keyring,
      showKeys: false,
      read: (onFrame, until) => capture.read(onFrame, until),
      ...(expected === undefined ? {} : { expected }),
    }).finally(() => progress.end());
    const checked = checkPractices(report, expected !== undefined);
    if (options.json === true) {
      context.stdout.write(`${JSON.stringify(checked, undefined, 2)}\n`);
    } else {
      for (const { verdict, practice, evidence } of checked) {
        context.stdout.write(`${verdict.padEnd(10)} ${practice}\n${" ".repeat(11)}${evidence}\n`);
      }
    }
    if (capture.problem !== undefined) {
      context.stderr.write(`postern: ${file}: ${capture.problem.reason}\n`);
      context.exitCode = ExitCode.usage;
    } else if (report.hasWrongKeys) {
      context.stderr.write(`postern: ${file}: ${wrongKeysText}\n`);
      context.exitCode = ExitCode.usage;
    } else if (checked.some(({ verdict }) => verdict === "not met")) {
      context.exitCode = ExitCode.failed;
    }
  } catch (thrown) {
    if (!signal.aborted) throw thrown;
    context.exitCode = ExitCode.interrupted;
  }
}
