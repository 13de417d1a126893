import { allCommands, nameOf, type CompletionCommand, type ValueKind } from "./model.ts";

/** The words a case branch prints; they hold no white space. */
function words(list: readonly string[]): string {
  return `printf "%s" "${list.join(" ")}"`;
}

function valueWords(value: ValueKind): string {
  switch (value.kind) {
    case "file":
      return words(["@file"]);
    case "directory":
      return words(["@directory"]);
    case "choices":
      return words(value.choices);
    case "free":
      return words(["@free"]);
    default:
      return value satisfies never;
  }
}

function branch(pattern: string, body: string): string {
  return `    ${pattern}) ${body} ;;`;
}

function pattern(command: CompletionCommand, ...rest: readonly string[]): string {
  return `"${[...command.path, ...rest].join(" ")}"`;
}

function commandBranches(commands: readonly CompletionCommand[]): string[] {
  return commands
    .filter((command) => command.commands.length > 0)
    .map((command) => branch(pattern(command), words(command.commands.map(nameOf))));
}

function optionBranches(commands: readonly CompletionCommand[]): string[] {
  return commands.map((command) =>
    branch(pattern(command), words(command.options.flatMap(({ names }) => names))),
  );
}

function valueBranches(commands: readonly CompletionCommand[]): string[] {
  return commands.flatMap((command) =>
    command.options.flatMap(({ names, value }) =>
      value === undefined
        ? []
        : [branch(names.map((name) => pattern(command, name)).join("|"), valueWords(value))],
    ),
  );
}

/** Only the first argument's kind is known to the script; commands that take files take nothing else. */
function argumentBranches(commands: readonly CompletionCommand[]): string[] {
  return commands.flatMap((command) => {
    const [first] = command.arguments;
    return first === undefined ? [] : [branch(pattern(command), valueWords(first.value))];
  });
}

/** A function that prints what the branch for its argument says. */
function table(name: string, branches: readonly string[]): string {
  return [`_postern_${name}() {`, '  case "$1" in', ...branches, "  esac", "}"].join("\n");
}

/** A script for bash 4 or later that needs nothing else, to be sourced. */
export function bashCompletion(root: CompletionCommand): string {
  const commands = allCommands(root);
  return `# Completion of postern for bash: source <(postern completion bash)

${table("commands", commandBranches(commands))}

${table("options", optionBranches(commands))}

# What stands after an option: words, or @file, @directory, @free; nothing when it stands alone.
${table("value", valueBranches(commands))}

${table("argument", argumentBranches(commands))}

_postern_propose() {
  case "$1" in
    @file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$2") ;;
    @directory) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$2") ;;
    @free) COMPREPLY=() ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2") ;;
  esac
}

_postern() {
  local current="\${COMP_WORDS[COMP_CWORD]}" path="" option="" word index
  COMPREPLY=()
  for ((index = 1; index < COMP_CWORD; index++)); do
    word="\${COMP_WORDS[index]}"
    if [[ $word == "=" ]]; then
      continue
    elif [[ -n $option ]]; then
      option=""
    elif [[ $word == -* ]]; then
      [[ -n $(_postern_value "\${path:+$path }$word") ]] && option="$word"
    elif [[ " $(_postern_commands "$path") " == *" $word "* ]]; then
      path="\${path:+$path }$word"
    fi
  done
  # bash takes the = of --option=value for a word of its own.
  [[ $current == "=" ]] && current=""
  if [[ -n $option ]]; then
    _postern_propose "$(_postern_value "\${path:+$path }$option")" "$current"
  elif [[ $current == -* ]]; then
    _postern_propose "$(_postern_options "$path")" "$current"
  elif [[ -n $(_postern_commands "$path") ]]; then
    _postern_propose "$(_postern_commands "$path")" "$current"
  else
    _postern_propose "$(_postern_argument "$path")" "$current"
  fi
}

complete -F _postern postern
`;
}
