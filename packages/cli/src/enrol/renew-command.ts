import { resolve } from "node:path";

import { readRenewable, renewBundle } from "@postern/device/est/renew";

import { readInput } from "../client/credentials.ts";
import type { CommandContext } from "../context.ts";

export interface RenewOptions {
  readonly bundle: string;
  readonly url?: string;
  readonly now?: true;
  readonly json?: true;
}

/** Runs `postern renew`. */
export async function renew(
  { bundle, url, now, json }: RenewOptions,
  context: CommandContext,
): Promise<void> {
  const { cwd, stdout } = context;
  const path = resolve(cwd, bundle);
  // Says what is wrong with a file that cannot be read.
  readInput(bundle, "the bundle", { cwd });
  const renewable = readRenewable(path, bundle, url);
  const nowMs = Date.now();
  const due = new Date(renewable.dueMs).toISOString();
  const tell = (state: "renewed" | "not-due", notAfterMs: number, sentence: string): void => {
    const notAfter = new Date(notAfterMs).toISOString();
    stdout.write(json === true ? `${JSON.stringify({ state, notAfter, due })}\n` : `${sentence}\n`);
  };
  if (nowMs < renewable.dueMs && now !== true) {
    tell(
      "not-due",
      renewable.certificate.notAfterMs,
      `${bundle} is not to be renewed before ${due}; --now does it anyway`,
    );
    return;
  }
  const renewal = await renewBundle(path, renewable, nowMs);
  if (renewal.kind === "otherwise") {
    const { certificate } = readRenewable(path, bundle, url);
    tell("renewed", certificate.notAfterMs, `${bundle} was renewed by another process meanwhile`);
    return;
  }
  const { notAfterMs } = renewal.certificate;
  tell(
    "renewed",
    notAfterMs,
    `${bundle} has a new key and a certificate that is good until ${new Date(notAfterMs).toISOString()}`,
  );
}
