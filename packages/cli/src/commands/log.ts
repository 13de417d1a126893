import { Argument, type Command } from "commander";

import type { CommandContext } from "../context.ts";

/** As in the configuration's schema, which is loaded only when a command needs it. */
const levels = ["trace", "debug", "info", "warn", "error", "silent"] as const;

async function setLevel(level: string, data: string | undefined, context: CommandContext): Promise<void> {
  const { askServer, existingDataDirectory } = await import("../admin/client.ts");
  const { nothing } = await import("../admin/protocol.ts");
  const { resolveDataDirectory } = await import("../config/select.ts");
  const directory = existingDataDirectory(resolveDataDirectory(data, context.cwd));
  await askServer(directory, context.cwd, {
    method: "PUT",
    path: "/log/level",
    body: { level },
    answer: nothing,
  });
  context.stdout.write(`the log level is ${level} until the server is started again\n`);
}

interface VerifyOptions {
  readonly data?: string;
  readonly anchor?: string;
  readonly json?: boolean;
}

async function verify({ data, anchor, json }: VerifyOptions, context: CommandContext): Promise<void> {
  const { askServer, existingDataDirectory, NotRunningError } = await import("../admin/client.ts");
  const { auditHeadResult } = await import("../admin/protocol.ts");
  const { resolveDataDirectory } = await import("../config/select.ts");
  const { renderAuditVerdict } = await import("../server/render-audit-verdict.ts");
  const { verifyAuditLog } = await import("../server/verify-audit-log.ts");
  const { ExitCode, UsageError } = await import("../errors.ts");
  if (anchor !== undefined && !/^[0-9a-f]{64}$/.test(anchor))
    throw new UsageError(`--anchor needs a head that \`postern log verify\` printed, 64 hexadecimal digits`);
  const { cwd, stdout } = context;
  const directory = existingDataDirectory(resolveDataDirectory(data, cwd));
  let runningHead: string | undefined;
  try {
    const asked = { method: "GET", path: "/audit/head", answer: auditHeadResult } as const;
    runningHead = (await askServer(directory, cwd, asked)).head;
  } catch (thrown) {
    if (!(thrown instanceof NotRunningError)) throw thrown;
  }
  const verdict = await verifyAuditLog(directory.audit, { anchor, runningHead });
  stdout.write(json === true ? `${JSON.stringify(verdict)}\n` : renderAuditVerdict(verdict));
  if (!verdict.intact) context.exitCode = ExitCode.failed;
}

const verifyHelp = `
Each event holds the hash of the one before it. What was changed, taken out or put in shows, with file and line, and
the exit code is 1. Whoever may write the files can also write a whole new chain: keep the head that is printed
elsewhere, and give it to --anchor later. A running server is asked for its own head.

Examples:
  postern log verify
  postern log verify --data /var/lib/postern --json
  postern log verify --anchor 3f79bb7b435b05321651daefd374cdc681dc06faa65e374e38337b88ca046dea
`;

/** `postern log`: a running server's log, and the audit log of a data directory. */
export function registerLog(program: Command, context: CommandContext): void {
  const log = program.command("log").description("the log of a running server, and the audit log");
  log
    .command("level")
    .addArgument(new Argument("<level>").choices(levels))
    .description("change how much a running server logs")
    .option("--data <directory>", "its data directory (default: ./postern-data)")
    .action((level: string, { data }: { readonly data?: string }) => setLevel(level, data, context));
  log
    .command("verify")
    .description("say whether the audit log is as the server wrote it")
    .option("--data <directory>", "its data directory (default: ./postern-data)")
    .option("--anchor <head>", "the head that an earlier run printed; it must still be there")
    .option("--json", "for programs")
    .addHelpText("after", verifyHelp)
    .action((options: VerifyOptions) => verify(options, context));
}
