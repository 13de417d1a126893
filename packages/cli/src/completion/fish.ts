import {
  allCommands,
  nameOf,
  type CompletionCommand,
  type CompletionOption,
  type ValueKind,
} from "./model.ts";

function quote(text: string): string {
  return `'${text.replaceAll(/[\\']/g, String.raw`\$&`)}'`;
}

/** How a value is completed: `-r` requires one, `-F` lets files in, `-x` is `-r` and no files. */
function valueFlags(value: ValueKind | undefined): string {
  if (value === undefined) return "";
  switch (value.kind) {
    case "file":
      return " -r -F";
    case "directory":
      return " -x -a '(__fish_complete_directories)'";
    case "choices":
      return ` -x -a ${quote(value.choices.join(" "))}`;
    case "free":
      return " -x";
    default:
      return value satisfies never;
  }
}

function optionLine(command: CompletionCommand, { names, description, value }: CompletionOption): string {
  const flags = names.map((name) => (name.startsWith("--") ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`));
  return `${prefix(command)} ${flags.join(" ")}${valueFlags(value)} -d ${quote(description)}`;
}

function prefix(command: CompletionCommand): string {
  return `complete -c postern -n ${quote(`__postern_at ${quote(command.path.join(" "))}`)}`;
}

function linesOf(command: CompletionCommand): string[] {
  const [first] = command.arguments;
  const files = first?.value.kind === "file" || first?.value.kind === "directory";
  const choices = first?.value.kind === "choices" ? first.value.choices : [];
  return [
    ...command.commands.map(
      (child) => `${prefix(command)} -a ${quote(nameOf(child))} -d ${quote(child.description)}`,
    ),
    ...command.options.map((option) => optionLine(command, option)),
    ...(files ? [`${prefix(command)} -F`] : []),
    ...(choices.length > 0 ? [`${prefix(command)} -a ${quote(choices.join(" "))}`] : []),
  ];
}

/** A script for fish 3 or later: `~/.config/fish/completions/postern.fish`. */
export function fishCompletion(root: CompletionCommand): string {
  const commands = allCommands(root);
  const paths = commands.filter(({ path }) => path.length > 0).map(({ path }) => quote(path.join(" ")));
  return `# Completion of postern for fish: postern completion fish > ~/.config/fish/completions/postern.fish

# Whether the command line so far names this command and none below it.
function __postern_at
    set -l path
    for word in (commandline -opc)[2..-1]
        set -l longer (string join ' ' -- $path $word)
        if contains -- "$longer" ${paths.join(" ")}
            set path $path $word
        end
    end
    test "$(string join ' ' -- $path)" = "$argv[1]"
end

complete -c postern -f
${commands.flatMap(linesOf).join("\n")}
`;
}
