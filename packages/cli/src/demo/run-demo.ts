import { sweepLeftOvers } from "@postern/gate/hosts/namespaces";
import { commandMissing } from "@postern/gate/hosts/ip-command";

import type { CommandContext } from "../context.ts";
import { DemoError, ExitCode } from "../errors.ts";
import { jsonNarrator, textNarrator, type Act } from "./narrator.ts";
import { setStage } from "./stage.ts";
import { invalidMax, tell, windowSeconds } from "./story.ts";

export interface DemoOptions {
  readonly json?: boolean;
}

const programs = {
  ip: "iproute2",
  nft: "nftables",
  nmap: "nmap",
  setpriv: "util-linux",
  tcpdump: "tcpdump",
} as const;

/** Builds the hosts, plays the story and takes everything away again. @throws {DemoError} or `HostsError` where that cannot be. */
export async function runDemo({ json }: DemoOptions, context: CommandContext): Promise<void> {
  const { stdout, colours } = context;
  const missing = Object.entries(programs).filter(([command]) => commandMissing(command));
  if (missing.length > 0) {
    throw new DemoError(
      `The demonstration needs ${missing.map(([command]) => command).join(", ")}: apt-get install ${missing.map(([, name]) => name).join(" ")}`,
    );
  }
  const signal = context.interruption();
  const narrator = json === true ? jsonNarrator(stdout) : textNarrator(stdout, colours);
  narrator.begin("Postern: a port that nobody can see (hosts: server, client 1, client 2, and a stranger)");
  const acts: Act[] = [];
  try {
    await using stage = await setStage({
      program: [process.execPath, process.argv[1] ?? "postern"],
      gate: { windowSeconds, bans: { invalidMax } },
      devices: { "client-1": ["device"], "client-2": ["observer"] },
    });
    for await (const act of tell(stage, signal)) {
      acts.push(act);
      narrator.tell(act);
      if (!act.ok) break;
    }
  } finally {
    await sweepLeftOvers();
  }
  if (signal.aborted) {
    context.exitCode = ExitCode.interrupted;
    return;
  }
  narrator.end(acts);
  if (acts.some(({ ok }) => !ok)) context.exitCode = ExitCode.failed;
}
