import { relative, resolve } from "node:path";

import { Argument, Option, type Command } from "commander";

import type { CommandContext } from "../context.ts";
import type { ExplainOptions } from "../permissions/explain-command.ts";

interface CheckOptions {
  readonly data?: string;
  readonly json?: boolean;
}

async function check(
  file: string | undefined,
  options: CheckOptions,
  context: CommandContext,
): Promise<void> {
  const { dataDirectoryAt } = await import("@postern/identity/data-directory");
  const { PermissionsError } = await import("@postern/identity/errors");
  const { readPolicyFile } = await import("@postern/identity/permissions/policy-file");
  const { resolveDataDirectory } = await import("../config/select.ts");
  const { cwd, stdout, stderr } = context;
  const path =
    file === undefined
      ? dataDirectoryAt(resolveDataDirectory(options.data, cwd)).permissions
      : resolve(cwd, file);
  const named = file ?? relative(cwd, path);
  try {
    const { state, policy } = readPolicyFile(path, named);
    if (state === "missing") throw new PermissionsError(named, { text: "there is no such file" });
    const roles = [...policy.roles.keys()];
    if (options.json === true) {
      stdout.write(`${JSON.stringify({ ok: true, file: named, roles })}\n`);
      return;
    }
    if (state === "empty") stderr.write(`postern: warning: ${named} has no roles: nobody may do anything\n`);
    stdout.write(`${named} is good${roles.length === 0 ? "" : `: ${roles.join(", ")}`}\n`);
  } catch (thrown) {
    if (options.json !== true || !(thrown instanceof PermissionsError)) throw thrown;
    const { problem, line, key, suggestion } = thrown;
    stdout.write(`${JSON.stringify({ ok: false, file: thrown.file, problem, line, key, suggestion })}\n`);
    const { ExitCode } = await import("../errors.ts");
    context.exitCode = ExitCode.usage;
  }
}

async function explain(
  device: string,
  operation: string,
  topic: string | undefined,
  options: Omit<ExplainOptions, "qos"> & { readonly qos: string },
  context: CommandContext,
): Promise<void> {
  const { operations } = await import("@postern/identity/permissions/schema");
  const { questionProblem } = await import("@postern/identity/permissions/explain");
  const { UsageError } = await import("../errors.ts");
  const { runExplain } = await import("../permissions/explain-command.ts");
  const known = operations.find((name) => name === operation);
  const qos = ([0, 1, 2] as const).find((level) => String(level) === options.qos);
  if (known === undefined || qos === undefined)
    throw new UsageError(`cannot explain ${operation} at QoS ${options.qos}`);
  const question = { operation: known, topic, qos };
  const problem = questionProblem(question);
  if (problem !== undefined) throw new UsageError(problem);
  await runExplain(device, question, { ...options, qos }, context);
}

/** `postern permissions`: look into permissions.yaml without trying things out. */
export function registerPermissions(program: Command, context: CommandContext): void {
  const permissions = program
    .command("permissions")
    .description("check the permissions file, explain who may do what and why, and test it");
  permissions
    .command("explain")
    .argument(
      "<device>",
      "the device (or who is known from outside), or anonymous for clients that prove nothing",
    )
    .addArgument(
      new Argument("<operation>", "what it wants to do").choices([
        "publish",
        "subscribe",
        "will",
        "retain",
        "persistentSession",
        "shared",
      ]),
    )
    .argument("[topic]", "the topic, or a filter to subscribe to (also $share/group/filter)")
    .description("say whether a device may do something, and which line of the file decided")
    .addOption(new Option("--qos <level>", "the QoS").choices(["0", "1", "2"]).default("0"))
    .option("--client <id>", "the client id, for rules with ${client} (default: the device's name)")
    .option("--data <directory>", "data directory (default: ./postern-data)")
    .option("--json", "for programs: permitted, rules with line and role, reason")
    .addHelpText(
      "after",
      `
A running server answers by what is in force there, otherwise the files do. Ends with 0 for yes and 1 for no.

Examples:
  postern permissions explain sensor-1 publish devices/sensor-1/state --qos 1
  postern permissions explain sensor-1 subscribe 'devices/#'
  postern permissions explain sensor-1 persistentSession`,
    )
    .action((device: string, operation: string, topic: string | undefined, options) =>
      explain(device, operation, topic, options, context),
    );
  permissions
    .command("test")
    .argument("<file>", "a table of expectations (YAML)")
    .description(
      "hold a permissions file to a table of who may do what, and how payloads must be sealed, as in your own CI",
    )
    .option(
      "--permissions <file>",
      "the permissions file (default: the one that the table names, or permissions.yaml beside it)",
    )
    .option("--json", "for programs: the number of expectations, and those that are not met")
    .addHelpText(
      "after",
      `
Ends with 0 when every expectation is met and with 1 when one is not. A table:
  devices:
    sensor-1: { roles: [device] }
  expect:
    - { device: sensor-1, may: [publish, retain], topics: [devices/sensor-1/state], qos: [0, 1] }
    - { device: sensor-1, mayNot: [subscribe], topics: ["#", "$SYS/#", devices/sensor-2/state] }
  payloads:
    - { topics: [plant/7/orders/stop], require: signed+encrypted, maxAgeSeconds: 300 }
    - { topics: [plant/7/state], require: none }`,
    )
    .action(async (file: string, options: { readonly permissions?: string; readonly json?: boolean }) => {
      const { runTest } = await import("../permissions/test-command.ts");
      runTest(file, options, context);
    });
  permissions
    .command("check")
    .argument("[file]", "the permissions file (default: permissions.yaml in the data directory)")
    .description("say what is wrong with a permissions file, with file and line")
    .option("--data <directory>", "data directory (default: ./postern-data)")
    .option("--json", "for programs: ok, file, roles or problem, line, key, suggestion")
    .action((file: string | undefined, options: CheckOptions) => check(file, options, context));
  permissions
    .command("default")
    .description("print the permissions file that a first start writes")
    .action(async () => {
      const { defaultPermissions } = await import("@postern/identity/permissions/default-file");
      context.stdout.write(defaultPermissions);
    });
}
