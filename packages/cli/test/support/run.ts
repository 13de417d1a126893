import { spawn } from "node:child_process";
import { once } from "node:events";

export interface Said {
  readonly code: number | null;
  /** stdout and stderr, in the order in which they came. */
  readonly text: string;
}

/** Runs a program of the system to its end, with this on its standard input. */
export async function run(program: string, args: readonly string[], input = ""): Promise<Said> {
  const child = spawn(program, args, { stdio: "pipe", signal: AbortSignal.timeout(30_000) });
  let text = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  child.stdin.on("error", () => {}).end(input);
  await once(child, "close");
  return { code: child.exitCode, text };
}
