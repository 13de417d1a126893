import { errorText } from "@postern/core/errors";
import type { Log } from "@postern/core/log";
import type { IpSource } from "@postern/knock/ip-address";

import type { Firewall } from "./firewall.ts";
import { bansSchema } from "./link/messages.ts";
import type { Judgement, Sentry } from "./sentry.ts";
import { decodeLine, encodeLine, readStateFile, replaceStateFileLater } from "./state-file.ts";

export interface BanListOptions {
  /** The file that bans are kept in across restarts. */
  readonly path: string;
  readonly sentry: Sentry;
  readonly firewall: Firewall;
  readonly log: Log;
}

/** Bans: decided by the sentry, carried out by the firewall, kept in a file with the time when they end. */
export class BanList implements AsyncDisposable {
  readonly sentry: Sentry;
  readonly #options: BanListOptions;
  #changed = false;
  #writing: Promise<void> | undefined;

  constructor(options: BanListOptions) {
    this.#options = options;
    this.sentry = options.sentry;
  }

  /** Bans again, for the time they have left, those that the file names. A damaged file costs its bans, not the start. */
  restore(nowMs: number): void {
    const { path, log } = this.#options;
    const text = readStateFile(path);
    if (text === undefined) return;
    const bans = bansSchema.safeParse(decodeLine(text.trimEnd()));
    if (!bans.success) {
      log.error({ path }, "the list of bans is damaged: those who were locked out are no longer");
      return;
    }
    for (const { source, untilMs } of bans.data) if (untilMs > nowMs) this.ban(source, untilMs, nowMs);
    this.#changed = false;
  }

  /** Takes an invalid packet of this source into account, and bans it when it was one too many. */
  offend(source: IpSource, nowMs: number): Judgement {
    const judgement = this.sentry.offend(source, nowMs);
    if (judgement.kind === "ban") {
      this.#changed = true;
      this.#inKernel(source, judgement.seconds);
      if (judgement.replaced !== undefined) this.#inKernel(judgement.replaced, 0);
    }
    return judgement;
  }

  ban(source: IpSource, untilMs: number, nowMs: number): void {
    this.#changed = true;
    const replaced = this.sentry.ban(source, untilMs);
    this.#inKernel(source, (untilMs - nowMs) / 1_000);
    if (replaced !== undefined) this.#inKernel(replaced, 0);
  }

  /** @returns whether it was banned. */
  lift(source: IpSource): boolean {
    const banned = this.sentry.lift(source);
    if (banned) this.#changed = true;
    this.#inKernel(source, 0);
    return banned;
  }

  /** Forgets what is over, and has what changed written; knocks do not wait for the disk. */
  sweep(nowMs: number): void {
    this.sentry.sweep(nowMs);
    if (!this.#changed || this.#writing !== undefined) return;
    this.#writing = this.#write(nowMs).finally(() => {
      this.#writing = undefined;
    });
  }

  /** Writes what is not written yet. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing;
    if (this.#changed) await this.#write(0);
  }

  /** A disk that does not take it costs the bans a restart, nothing else. */
  async #write(nowMs: number): Promise<void> {
    const { path, log } = this.#options;
    this.#changed = false;
    const bans = this.sentry
      .bans(nowMs)
      .map(({ source, untilMs }) => ({ source, untilMs: Math.ceil(untilMs) }));
    try {
      await replaceStateFileLater(path, encodeLine(bans));
    } catch (thrown) {
      log.error({ error: errorText(thrown) }, "the list of bans could not be written");
    }
  }

  #inKernel(source: IpSource, seconds: number): void {
    const { firewall, log } = this.#options;
    const done = seconds > 0 ? firewall.ban(source, seconds) : firewall.unban(source);
    done.catch((thrown: unknown) =>
      log.error({ source, error: errorText(thrown) }, "the kernel's list of bans could not be changed"),
    );
  }
}
