import type { Argument, Command, Option } from "commander";

/** What a shell can propose for a value. */
export type ValueKind =
  | { readonly kind: "file" }
  | { readonly kind: "directory" }
  | { readonly kind: "choices"; readonly choices: readonly string[] }
  /** Only the user knows. */
  | { readonly kind: "free" };

export interface CompletionOption {
  /** `--qos`, or `-V` and `--version`. */
  readonly names: readonly string[];
  readonly description: string;
  /** `undefined` for an option that stands alone. */
  readonly value: ValueKind | undefined;
}

export interface CompletionArgument {
  readonly name: string;
  readonly value: ValueKind;
  readonly variadic: boolean;
}

export interface CompletionCommand {
  /** From the program down, without the program itself: empty for the program, `["config", "check"]`. */
  readonly path: readonly string[];
  readonly description: string;
  readonly options: readonly CompletionOption[];
  readonly arguments: readonly CompletionArgument[];
  readonly commands: readonly CompletionCommand[];
}

/** By the name between the angle brackets, as the help shows it. */
function valueKind(name: string, choices: readonly string[] | undefined): ValueKind {
  if (choices !== undefined) return { kind: "choices", choices };
  if (name === "file") return { kind: "file" };
  return name === "directory" ? { kind: "directory" } : { kind: "free" };
}

function toOption(option: Option): CompletionOption {
  const names = [option.short, option.long].filter((name) => name !== undefined && name !== null);
  const takesValue = option.required || option.optional;
  const name = /[<[]([^>\].]+)/.exec(option.flags)?.[1] ?? "";
  return {
    names,
    description: option.description,
    value: takesValue ? valueKind(name, option.argChoices) : undefined,
  };
}

function toArgument(argument: Argument): CompletionArgument {
  const name = argument.name();
  return { name, value: valueKind(name, argument.argChoices), variadic: argument.variadic };
}

/** What shells need to know of a command and all below it: everything that its help shows. */
export function completionModel(command: Command, path: readonly string[] = []): CompletionCommand {
  const help = command.createHelp();
  return {
    path,
    description: command.description(),
    options: help.visibleOptions(command).map(toOption),
    arguments: command.registeredArguments.map(toArgument),
    commands: help.visibleCommands(command).map((child) => completionModel(child, [...path, child.name()])),
  };
}

/** A command and all below it, itself first. */
export function allCommands(command: CompletionCommand): CompletionCommand[] {
  return [command, ...command.commands.flatMap(allCommands)];
}

/** The last word of a command's path; the program's is empty. */
export function nameOf(command: CompletionCommand): string {
  return command.path.at(-1) ?? "";
}
