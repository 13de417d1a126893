import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** A line of the audit log. */
export type Audited = Readonly<Record<string, unknown>>;

/** The audit log as it is on disk now. */
export function auditText(data: string): string {
  return readFileSync(join(data, "audit", "audit.jsonl"), "utf8");
}

/** The first event that fits, once it is on disk; fails after ten seconds. */
export async function audited(data: string, fits: (event: Audited) => boolean): Promise<Audited> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    const lines = auditText(data).split("\n").slice(0, -1);
    const found = lines.map((line): Audited => JSON.parse(line)).find(fits);
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error(`no such event in\n${lines.join("\n")}`);
    await delay(20);
  }
}
