import { resolve } from "node:path";

import type { Command } from "commander";

import type { CommandContext } from "../context.ts";

interface ShowOptions {
  readonly config?: string;
  readonly data?: string;
  readonly json?: boolean;
}

async function check(file: string, json: boolean, context: CommandContext): Promise<void> {
  const { ConfigError } = await import("../config/errors.ts");
  const { loadConfig } = await import("../config/read.ts");
  const { resolveConfiguration } = await import("../config/configuration.ts");
  try {
    const { listeners, warnings } = resolveConfiguration(loadConfig(resolve(context.cwd, file), file));
    if (json) {
      context.stdout.write(`${JSON.stringify({ ok: true, warnings })}\n`);
      return;
    }
    for (const warning of warnings) context.stderr.write(`postern: warning: ${warning}\n`);
    context.stdout.write(`${file} is good: ${listeners.map(({ name }) => name).join(", ")}\n`);
  } catch (thrown) {
    if (!json || !(thrown instanceof ConfigError)) throw thrown;
    const { problem, fields, exitCode } = thrown;
    context.stdout.write(`${JSON.stringify({ ok: false, problem, ...fields })}\n`);
    context.exitCode = exitCode;
  }
}

async function show(options: ShowOptions, context: CommandContext): Promise<void> {
  const { selectConfiguration } = await import("../config/select.ts");
  const { toFileShape, toFileText } = await import("../config/show.ts");
  const { configuration, data } = selectConfiguration(options, context.cwd);
  const shape = toFileShape(configuration);
  if (options.json === true) {
    context.stdout.write(`${JSON.stringify({ file: configuration.file, data, ...shape }, undefined, 2)}\n`);
    return;
  }
  const source = configuration.file === undefined ? "all defaults" : `${configuration.file} and defaults`;
  context.stdout.write(`# ${source}; data in ${data}\n${toFileText(shape)}`);
}

/** `postern config check` and `postern config show`. */
export function registerConfig(program: Command, context: CommandContext): void {
  const config = program
    .command("config")
    .description("check or show a configuration, without starting anything");
  config
    .command("check")
    .argument("<file>", "the configuration")
    .description("say what is wrong with a configuration, with file and line")
    .option("--json", "for programs: ok, problem, file, line, key, suggestion")
    .action((file: string, options: { readonly json?: boolean }) =>
      check(file, options.json === true, context),
    );
  config
    .command("show")
    .description("print the configuration in force, with all defaults")
    .option(
      "--config <file>",
      "configuration (default: postern.yaml in the data directory, when there is one)",
    )
    .option("--data <directory>", "data directory (default: ./postern-data)")
    .option("--json", "as JSON")
    .action((options: ShowOptions) => show(options, context));
}
