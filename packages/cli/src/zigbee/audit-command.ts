import { readFileSync } from "node:fs";
import { resolve } from "node:path";

import { comparedWith, parseBaseline } from "@postern/audit/baseline";
import { isAtLeast, severities, type Severity } from "@postern/audit/finding";
import { auditZigbee } from "@postern/audit/zigbee/audit";
import { errorText } from "@postern/core/errors";
import { visible } from "@postern/device/visible";
import type { CbkeSecrets } from "@postern/zigbee/key-establishment/cbke-harvester";

import type { CommandContext } from "../context.ts";
import { ExitCode, UsageError } from "../errors.ts";
import { formattedReport, reportFormats } from "./audit-report.ts";
import { openCapture } from "./capture-source.ts";
import { loadExpected } from "./expected.ts";
import { createKeyring } from "./keys.ts";
import { Progress } from "./progress.ts";
import { RepeatedCapture } from "./read-capture.ts";

const frameCheckFormats = ["crc", "ti", "unchecked", "none"] as const;

/** What is said when no key that was given opens anything. */
export const wrongKeysText =
  "none of the keys that were given opens a frame; check that they are of this network, and the order of their bytes";

/** The options of `postern zigbee audit`, as they stand on the command line. */
export interface AuditCommandOptions {
  readonly key?: readonly string[];
  readonly installCode?: readonly string[];
  readonly keyFile?: string;
  readonly cbke?: string;
  readonly level?: string;
  readonly fcs: string;
  readonly format: string;
  readonly failOn: string;
  readonly showKeys?: boolean;
  readonly baseline?: string;
  readonly inventory?: string;
}

/**
 * Audits the capture in `file`, or on stdin when it is `-`, and prints the report. The exit code is 0, 1 when a finding that is
 * not in the baseline is as severe as `failOn`, or 2 when the capture is not whole or the keys are not its: the report is then of what
 * could be read.
 */
export async function auditCommand(
  file: string,
  options: AuditCommandOptions,
  context: CommandContext,
): Promise<void> {
  const failOn = severityOf(options.failOn);
  const level = levelOf(options.level);
  const frameCheck = options.fcs === "auto" ? undefined : oneOf("--fcs", options.fcs, frameCheckFormats);
  const format = oneOf("--format", options.format, reportFormats);
  const keyring = createKeyring({
    keys: options.key ?? [],
    installCodes: options.installCode ?? [],
    file: options.keyFile === undefined ? undefined : resolve(context.cwd, options.keyFile),
  });
  const baseline = options.baseline === undefined ? undefined : loadBaseline(options.baseline, context.cwd);
  const cbkeSecrets = options.cbke === undefined ? undefined : await loadSecrets(options.cbke, context);
  const expected = await loadExpected(options.inventory, context);
  const interruption = context.interruption();
  let signal = interruption;
  const name = file === "-" ? "standard input" : file;
  try {
    await using source = await openCapture(file, context, interruption);
    ({ signal } = source);
    const progress = new Progress(context.stderr, source.fileBytes, () => performance.now());
    const capture = new RepeatedCapture({ source, keyring, signal, progress, frameCheck });
    const audited = await auditZigbee({
      keyring,
      showKeys: options.showKeys === true,
      read: (onFrame, until) => capture.read(onFrame, until),
      ...(level === undefined ? {} : { level }),
      ...(expected === undefined ? {} : { expected }),
      ...(cbkeSecrets === undefined ? {} : { cbkeSecrets }),
    }).finally(() => progress.end());
    const { problem } = capture;
    const report =
      baseline === undefined ? audited : { ...audited, findings: comparedWith(audited.findings, baseline) };
    context.stdout.write(await formattedReport(report, format, { file: name, problem }));
    if (problem !== undefined) {
      const kept = report.frames > 0 ? ` (the report is of the ${report.frames} frames before)` : "";
      context.stderr.write(`postern: ${visible(name)}: ${problem.reason}${kept}\n`);
      context.exitCode = ExitCode.usage;
    } else if (report.hasWrongKeys) {
      context.stderr.write(`postern: ${visible(name)}: ${wrongKeysText}\n`);
      context.exitCode = ExitCode.usage;
    } else if (
      failOn !== undefined &&
      report.findings.some(({ severity, known }) => known !== true && isAtLeast(severity, failOn))
    ) {
      context.exitCode = ExitCode.failed;
    }
  } catch (thrown) {
    if (!signal.aborted) throw thrown;
    context.exitCode = ExitCode.interrupted;
  }
}

/** What checks secrets is loaded only when there are some. */
async function loadSecrets(name: string, context: CommandContext): Promise<readonly CbkeSecrets[]> {
  const { loadCbkeSecrets } = await import("./cbke-secrets.ts");
  return loadCbkeSecrets(resolve(context.cwd, name), name);
}

function loadBaseline(file: string, cwd: string): ReadonlySet<string> {
  let text: string;
  try {
    text = readFileSync(resolve(cwd, file), "utf8");
  } catch (thrown) {
    throw new UsageError(`cannot read the baseline: ${errorText(thrown)}`, { cause: thrown });
  }
  const places = parseBaseline(text);
  if (places === undefined) {
    throw new UsageError(`${file} is not a report of postern zigbee audit --format json`);
  }
  return places;
}

function severityOf(text: string): Severity | undefined {
  return text === "never" ? undefined : oneOf("--fail-on", text, severities);
}

function levelOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[1-7]$/.test(text)) throw new UsageError(`--level is ${JSON.stringify(text)}, not one of 1 to 7`);
  return Number(text);
}

function oneOf<T extends string>(option: string, text: string, values: readonly T[]): T {
  const found = values.find((value) => value === text);
  if (found === undefined) {
    throw new UsageError(`${option} is ${JSON.stringify(text)}, not one of ${values.join(", ")}`);
  }
  return found;
}
