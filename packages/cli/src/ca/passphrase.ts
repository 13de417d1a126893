import { readPassword } from "../client/credentials.ts";
import type { CommandContext } from "../context.ts";
import { InterruptedError } from "../client/errors.ts";
import { UsageError } from "../errors.ts";

const enter = new Set(["\r", "\n"]);
const erase = new Set(["\u007f", "\b"]);
const interrupt = "\u0003";
const endOfInput = "\u0004";

/** Asks on the terminal, and shows nothing of what is typed. */
async function ask(question: string, { stdin, stderr }: CommandContext): Promise<string> {
  stderr.write(question);
  stdin.setRawMode?.(true);
  stdin.setEncoding("utf8");
  let typed: string[] = [];
  try {
    for await (const chunk of stdin.iterator({ destroyOnReturn: false })) {
      for (const character of String(chunk)) {
        if (enter.has(character) || character === endOfInput) return typed.join("");
        if (character === interrupt) throw new InterruptedError("interrupted");
        typed = erase.has(character) ? typed.slice(0, -1) : [...typed, character];
      }
    }
    return typed.join("");
  } finally {
    stdin.setRawMode?.(false);
    stdin.pause();
    stderr.write("\n");
  }
}

/**
 * The passphrase of a root's file: the first line of a file, or typed, a new one twice.
 * @throws {UsageError} when there is neither file nor terminal, or the two are not the same.
 */
export async function passphraseFor(
  file: string | undefined,
  { isNew }: { readonly isNew: boolean },
  context: CommandContext,
): Promise<string> {
  if (file !== undefined) {
    const warn = (text: string): void => void context.stderr.write(`postern: warning: ${text}\n`);
    return readPassword(file, { cwd: context.cwd, warn }).toString("utf8");
  }
  if (context.stdin.isTTY !== true)
    throw new UsageError(
      "say with --passphrase-file FILE where the passphrase is, or run this on a terminal",
    );
  const typed = await ask(
    isNew ? "New passphrase for the root's key: " : "Passphrase of the root's key: ",
    context,
  );
  if (isNew && (await ask("The same again: ", context)) !== typed)
    throw new UsageError("the two passphrases are not the same");
  return typed;
}
