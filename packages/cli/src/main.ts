import { Command, CommanderError } from "commander";

import { errorCode, errorText } from "@postern/core/errors";

import { processContext, type CommandContext } from "./context.ts";
import { ExitCode, reportError } from "./errors.ts";
import { version } from "./version.ts";

type Register = (program: Command, context: CommandContext) => void;

/**
 * Every command of `postern`, in the order of the help. A command's file declares its options and loads what it needs
 * only when it runs, so that `postern pub` does not wait for the server's modules.
 */
const commands: readonly { readonly name: string; readonly load: () => Promise<Register> }[] = [
  { name: "up", load: async () => (await import("./commands/up.ts")).registerUp },
  { name: "down", load: async () => (await import("./commands/down.ts")).registerDown },
  { name: "status", load: async () => (await import("./commands/status.ts")).registerStatus },
  { name: "log", load: async () => (await import("./commands/log.ts")).registerLog },
  { name: "backup", load: async () => (await import("./commands/backup.ts")).registerBackup },
  { name: "config", load: async () => (await import("./commands/config.ts")).registerConfig },
  { name: "permissions", load: async () => (await import("./commands/permissions.ts")).registerPermissions },
  { name: "device", load: async () => (await import("./commands/device.ts")).registerDevice },
  { name: "device", load: async () => (await import("./commands/device-enrol.ts")).registerDeviceEnrol },
  { name: "enrol", load: async () => (await import("./commands/enrol.ts")).registerEnrol },
  { name: "ca", load: async () => (await import("./commands/ca.ts")).registerCa },
  { name: "keys", load: async () => (await import("./commands/keys.ts")).registerKeys },
  { name: "pub", load: async () => (await import("./commands/pub.ts")).registerPub },
  { name: "sub", load: async () => (await import("./commands/sub.ts")).registerSub },
  { name: "knock", load: async () => (await import("./commands/knock.ts")).registerKnock },
  { name: "tunnel", load: async () => (await import("./commands/tunnel.ts")).registerTunnel },
  { name: "gate", load: async () => (await import("./commands/gate.ts")).registerGate },
  { name: "ban", load: async () => (await import("./commands/ban.ts")).registerBan },
  { name: "lockdown", load: async () => (await import("./commands/host-profile.ts")).registerLockdown },
  { name: "agent", load: async () => (await import("./commands/host-profile.ts")).registerAgent },
  { name: "demo", load: async () => (await import("./commands/demo.ts")).registerDemo },
  { name: "zigbee", load: async () => (await import("./commands/zigbee.ts")).registerZigbee },
  { name: "completion", load: async () => (await import("./commands/completion.ts")).registerCompletion },
];

/** The files that declare a command line's command: one or two, or all of them where it names none or asks about all. */
function declarations(args: readonly string[]): Promise<Register[]> {
  const [first] = args;
  const named = commands.filter(({ name }) => name === first);
  const asksAboutAll = named.length === 0 || first === "completion";
  return Promise.all((asksAboutAll ? commands : named).map(({ load }) => load()));
}

/** The `postern` program with the commands that this command line needs, on the streams of `context`. */
async function createProgram(args: readonly string[], context: CommandContext): Promise<Command> {
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
  for (const register of await declarations(args)) register(program, context);
  return program;
}

/** Runs one command line (without the runtime and the script) and returns the exit code. Never throws. */
export async function run(args: readonly string[], context: CommandContext): Promise<number> {
  try {
    const program = await createProgram(args, context);
    await program.parseAsync([...args], { from: "user" });
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
  // What a stream says of a write that failed comes after the write.
  void run(process.argv.slice(2), context).then((code) => setImmediate(() => process.exit(code)));
}
