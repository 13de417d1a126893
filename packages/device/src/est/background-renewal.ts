import { errorText } from "@postern/core/errors";
import type { Certificate } from "@postern/pki/certificate";

import { readRenewable, renewBundle } from "./renew.ts";

const dayMs = 86_400_000;
/** Whoever comes late, as after a long sleep, does not come at the same moment as all others. */
const lateMsMax = 5_000;
/** A twelfth of the life: a fleet that was enrolled in an hour does not renew in one. */
const jitterParts = 12;
const retryMsMin = 60_000;
const retryMsMax = 3_600_000;

export interface BackgroundRenewalOptions {
  /** Absolute path of the bundle. */
  readonly path: string;
  /** How the user calls it. */
  readonly name: string;
  readonly onRenewed: (certificate: Certificate) => void;
  /** What fails is tried again; the same failure is told once. */
  readonly onFailed: (error: Error) => void;
}

/**
 * Renews the certificate of a bundle while it is in use: at two thirds of its life, and a random while later. What fails is tried again, and
 * said once. Does not keep the process alive.
 */
export class BackgroundRenewal implements Disposable {
  readonly #options: BackgroundRenewalOptions;
  #timer: NodeJS.Timeout | undefined;
  #retryMs = retryMsMin;
  #told = "";

  /** @returns `undefined` when there is nothing that could be renewed: no certificate, or nobody to ask. */
  static start(options: BackgroundRenewalOptions): BackgroundRenewal | undefined {
    try {
      readRenewable(options.path, options.name);
    } catch {
      return undefined;
    }
    const renewal = new BackgroundRenewal(options);
    renewal.#schedule();
    return renewal;
  }

  private constructor(options: BackgroundRenewalOptions) {
    this.#options = options;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    const { path, name } = this.#options;
    const { certificate, dueMs } = readRenewable(path, name);
    const jitterMs = (Math.random() * (certificate.notAfterMs - certificate.notBeforeMs)) / jitterParts;
    const waitMs = Math.max(dueMs + jitterMs - Date.now(), Math.random() * lateMsMax);
    this.#wait(waitMs);
  }

  /** In steps of a day: no timer lasts longer than 25 days, and the machine may sleep. */
  #wait(ms: number): void {
    const untilMs = Date.now() + ms;
    this.#timer = setTimeout(
      () => {
        const leftMs = untilMs - Date.now();
        if (leftMs > 0) this.#wait(leftMs);
        else void this.#renew();
      },
      Math.min(ms, dayMs),
    ).unref();
  }

  async #renew(): Promise<void> {
    const { path, name } = this.#options;
    try {
      const renewable = readRenewable(path, name);
      // Another process may have done it.
      if (Date.now() >= renewable.dueMs) {
        const renewal = await renewBundle(path, renewable, Date.now());
        if (renewal.kind === "renewed") this.#options.onRenewed(renewal.certificate);
      }
      this.#retryMs = retryMsMin;
      this.#told = "";
      this.#schedule();
    } catch (thrown) {
      const problem = errorText(thrown);
      if (problem !== this.#told)
        this.#options.onFailed(thrown instanceof Error ? thrown : new Error(problem));
      this.#told = problem;
      this.#wait(this.#retryMs * (0.8 + 0.4 * Math.random()));
      this.#retryMs = Math.min(this.#retryMs * 2, retryMsMax);
    }
  }
}
