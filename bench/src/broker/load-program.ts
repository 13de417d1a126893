/**
 * The load generator: reads jobs from standard input, one JSON object a line, and writes what came of each to standard output.
 * It runs in a process of its own, so that what it costs is not counted as the server's, and ends when its input does.
 */
import { createInterface } from "node:readline";

import { errorText } from "@postern/core/errors";

import { runConnections } from "./load/connections.ts";
import { runIdle } from "./load/idle.ts";
import { job, type Figures, type Job } from "./load/job.ts";
import { MessageRun } from "./load/messages.ts";
import { OfflineRun } from "./load/offline.ts";
import { runRetained } from "./load/retained.ts";

function run(wanted: Job): Promise<Figures> {
  switch (wanted.kind) {
    case "messages":
      return new MessageRun(wanted.target, wanted.load).run();
    case "connections":
      return runConnections(wanted.target, wanted.load);
    case "idle":
      return runIdle(wanted.target, wanted.load);
    case "retained":
      return runRetained(wanted.target, wanted.load);
    case "offline":
      return new OfflineRun(wanted.target, wanted.load).run();
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  let outcome: { readonly figures: Figures } | { readonly error: string };
  try {
    outcome = { figures: await run(job.parse(JSON.parse(line))) };
  } catch (error) {
    outcome = { error: errorText(error) };
  }
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
}
