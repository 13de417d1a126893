import {
  allCommands,
  nameOf,
  type CompletionArgument,
  type CompletionCommand,
  type CompletionOption,
  type ValueKind,
} from "./model.ts";

/** Between single quotes. */
function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** Brackets and colons end the parts of a specification of _arguments and _describe. */
function escape(text: string): string {
  return text.replaceAll(/[\\[\]:]/g, String.raw`\$&`);
}

function functionName(command: CompletionCommand): string {
  return ["_postern", ...command.path].join("_");
}

function action(value: ValueKind): string {
  switch (value.kind) {
    case "file":
      return "_files";
    case "directory":
      return "_files -/";
    case "choices":
      return `(${value.choices.join(" ")})`;
    case "free":
      return " ";
    default:
      return value satisfies never;
  }
}

function optionSpecs({ names, description, value }: CompletionOption): string[] {
  return names.map((name) => {
    const takes = value === undefined ? "" : `:value:${action(value)}`;
    const sign = value === undefined || !name.startsWith("--") ? "" : "=";
    return quote(`*${name}${sign}[${escape(description)}]${takes}`);
  });
}

function argumentSpec({ name, value, variadic }: CompletionArgument, index: number): string {
  return quote(`${variadic ? "*" : index + 1}:${escape(name)}:${action(value)}`);
}

function leaf(command: CompletionCommand): string {
  const specs = [...command.options.flatMap(optionSpecs), ...command.arguments.map(argumentSpec)];
  return [`${functionName(command)}() {`, `  _arguments -s ${continued(specs)}`, "}"].join("\n");
}

function continued(specs: readonly string[]): string {
  return specs.map((spec) => `\\\n    ${spec}`).join(" ");
}

function branch(command: CompletionCommand): string {
  const specs = [
    ...command.options.flatMap(optionSpecs),
    quote("1:command:->command"),
    quote("*::argument:->argument"),
  ];
  const described = command.commands.map((child) => quote(`${nameOf(child)}:${escape(child.description)}`));
  const calls = command.commands.map((child) => `        ${nameOf(child)}) ${functionName(child)} ;;`);
  return `${functionName(command)}() {
  local curcontext="$curcontext" state line
  typeset -A opt_args
  _arguments -C ${continued(specs)}
  case $state in
    command)
      local -a commands=(
        ${described.join("\n        ")}
      )
      _describe command commands ;;
    argument)
      case $line[1] in
${calls.join("\n")}
      esac ;;
  esac
}`;
}

/** A script for zsh: a file `_postern` in a directory of `fpath`, or to be sourced after compinit. */
export function zshCompletion(root: CompletionCommand): string {
  const functions = allCommands(root).map((command) =>
    command.commands.length > 0 ? branch(command) : leaf(command),
  );
  return `#compdef postern
# Completion of postern for zsh: postern completion zsh > ~/.zfunc/_postern, with ~/.zfunc in fpath

${functions.join("\n\n")}

if [[ $funcstack[1] == _postern ]]; then
  _postern "$@"
else
  compdef _postern postern
fi
`;
}
