import { resolve } from "node:path";

import type { Command } from "commander";

import type { CommandContext } from "../context.ts";

interface BackupOptions {
  readonly data?: string;
}

interface RestoreOptions extends BackupOptions {
  readonly force?: boolean;
}

async function backup(file: string, { data }: BackupOptions, context: CommandContext): Promise<void> {
  const { existingDataDirectory } = await import("../admin/client.ts");
  const { resolveDataDirectory } = await import("../config/select.ts");
  const { takeBackup } = await import("../server/backup.ts");
  const directory = existingDataDirectory(resolveDataDirectory(data, context.cwd));
  const { bytes } = await takeBackup(directory, { file: resolve(context.cwd, file), cwd: context.cwd });
  context.stdout.write(`${file} holds the sessions and messages of ${directory.path} (${bytes} bytes)\n`);
}

async function restore(
  file: string,
  { data, force }: RestoreOptions,
  context: CommandContext,
): Promise<void> {
  const { resolveDataDirectory } = await import("../config/select.ts");
  const { putBackup } = await import("../server/backup.ts");
  const path = resolveDataDirectory(data, context.cwd);
  await putBackup(path, { file: resolve(context.cwd, file), overwrite: force === true });
  context.stdout.write(`the sessions and messages of ${file} are in ${path}: start with \`postern up\`\n`);
}

/** `postern backup` and `postern restore`. */
export function registerBackup(program: Command, context: CommandContext): void {
  const data = ["--data <directory>", "its data directory (default: ./postern-data)"] as const;
  program
    .command("backup")
    .argument("<file>", "the file to write; replaced when it is there")
    .description("copy the sessions and messages of a server, running or not, to one file")
    .option(...data)
    .action((file: string, options: BackupOptions) => backup(file, options, context));
  program
    .command("restore")
    .argument("<file>", "a file that `postern backup` wrote")
    .description("put a backup in the place of a stopped server's sessions and messages")
    .option(...data)
    .option("--force", "replace what is there")
    .action((file: string, options: RestoreOptions) => restore(file, options, context));
}
