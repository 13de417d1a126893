import { Command, CommanderError } from "commander";

import { errorCode, errorText } from "@postern/core/errors";

import { registerBackup } from "./commands/backup.ts";
import { registerBan } from "./commands/ban.ts";
import { registerCa } from "./commands/ca.ts";
import { registerCompletion } from "./commands/completion.ts";
import { registerConfig } from "./commands/config.ts";
import { registerDeviceEnrol } from "./commands/device-enrol.ts";
import { registerDevice } from "./commands/device.ts";
import { registerDemo } from "./commands/demo.ts";
import { registerDown } from "./commands/down.ts";
import { registerGate } from "./commands/gate.ts";
import { registerKeys } from "./commands/keys.ts";
import { registerKnock } from "./commands/knock.ts";
import { registerTunnel } from "./commands/tunnel.ts";
import { registerAgent, registerLockdown } from "./commands/host-profile.ts";
import { registerEnrol } from "./commands/enrol.ts";
import { registerLog } from "./commands/log.ts";
import { registerPermissions } from "./commands/permissions.ts";
import { registerPub } from "./commands/pub.ts";
import { registerStatus } from "./commands/status.ts";
import { registerSub } from "./commands/sub.ts";
import { registerUp } from "./commands/up.ts";
import { registerZigbee } from "./commands/zigbee.ts";
import { processContext, type CommandContext } from "./context.ts";
import { ExitCode, reportError } from "./errors.ts";
import { version } from "./version.ts";

/**
 * Every command of `postern`, in the order of the help. A command's file declares its options and loads what it needs
 * only when it runs, so that `postern pub` does not wait for the server's modules.
 */
const commands: readonly ((program: Command, context: CommandContext) => void)[] = [
  registerUp,
  registerDown,
  registerStatus,
  registerLog,
  registerBackup,
  registerConfig,
  registerPermissions,
  registerDevice,
  registerDeviceEnrol,
  registerEnrol,
  registerCa,
  registerKeys,
  registerPub,
  registerSub,
  registerKnock,
  registerTunnel,
  registerGate,
  registerBan,
  registerLockdown,
  registerAgent,
  registerDemo,
  registerZigbee,
  registerCompletion,
];

/** The `postern` program with all its commands, on the streams of `context`. */
function createProgram(context: CommandContext): Command {
  const program = new Command("postern")
    .description("A hidden, authenticated, durable MQTT broker")
    .version(version)
    .exitOverride()
    .showHelpAfterError("(see --help)")
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, "postern: ")),
    });
  for (const register of commands) register(program, context);
  return program;
}

/** Runs one command line (without the runtime and the script) and returns the exit code. Never throws. */
export async function run(args: readonly string[], context: CommandContext): Promise<number> {
  try {
    await createProgram(context).parseAsync([...args], { from: "user" });
    return context.exitCode;
  } catch (thrown) {
    // commander has printed the help or its complaint already.
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? ExitCode.ok : ExitCode.usage;
    return reportError(thrown, context);
  }
}

/** What to end with when standard output cannot be written; says so, where somebody may not know. */
function outputFailed(error: Error, context: Pick<CommandContext, "stderr">): ExitCode {
  // The reader of our output went away (`postern sub … | head -1`): there is nobody left to work for.
  if (errorCode(error) === "EPIPE") return ExitCode.ok;
  context.stderr.write(`postern: cannot write the output: ${errorText(error)}\n`);
  return ExitCode.failed;
}

/** Runs the command line of this process and ends it. */
export function start(): void {
  const context = processContext();
  context.stdout.on("error", (error) => process.exit(outputFailed(error, context)));
  context.stderr.on("error", () => process.exit(ExitCode.failed));
  // Our own mistake: say so in one sentence, and where only when asked.
  process.on("uncaughtException", (thrown) => process.exit(reportError(thrown, context)));
  void run(process.argv.slice(2), context).then((code) => process.exit(code));
}
