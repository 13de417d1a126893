import { Argument, type Command } from "commander";

import type { CommandContext } from "../context.ts";

const shells = ["bash", "zsh", "fish"] as const;
type Shell = (typeof shells)[number];

const examples = `
Examples:
  source <(postern completion bash)                                      (in ~/.bashrc)
  postern completion zsh > ~/.zfunc/_postern                             (with ~/.zfunc in fpath)
  postern completion fish > ~/.config/fish/completions/postern.fish`;

/** `postern completion`: scripts for shells, made from the commands themselves. */
export function registerCompletion(program: Command, context: CommandContext): void {
  program
    .command("completion")
    .description("print a script that completes postern's commands and options in a shell")
    .addArgument(new Argument("<shell>", "which shell").choices(shells))
    .addHelpText("after", examples)
    .action(async (shell: Shell) => {
      const { completionModel } = await import("../completion/model.ts");
      const generators = {
        bash: async () => (await import("../completion/bash.ts")).bashCompletion,
        zsh: async () => (await import("../completion/zsh.ts")).zshCompletion,
        fish: async () => (await import("../completion/fish.ts")).fishCompletion,
      };
      const generate = await generators[shell]();
      context.stdout.write(generate(completionModel(program)));
    });
}
