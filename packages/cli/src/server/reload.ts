import type { RunningListener } from "@postern/broker/listeners/listener";
import { errorText } from "@postern/core/errors";
import type { Log } from "@postern/core/log";

import type { FileAuditLog } from "./audit-log.ts";
import type { Authentication } from "./authentication.ts";
import type { Certificates } from "./certificates.ts";
import type { Revocation } from "./revocation/revocation.ts";

export interface ReloadOptions {
  readonly certificates: Pick<Certificates, "reload">;
  readonly authentication: Pick<Authentication, "reload">;
  readonly revocation: Pick<Revocation, "reload">;
  /** Whatever shows the server's certificate. */
  readonly listeners: readonly Pick<RunningListener, "reloadTls">[];
  /** Brings the bundles in the data directory up to date. */
  readonly provide: () => Promise<unknown>;
  readonly audit: Pick<FileAuditLog, "recordServer">;
  readonly log: Log;
}

/** Reads again what may have changed in files, and renews what is due; one time after the other. */
export class Reload {
  readonly #options: ReloadOptions;
  #last: Promise<void> = Promise.resolve();

  constructor(options: ReloadOptions) {
    this.#options = options;
  }

  /** @throws what went wrong; what could not be read stays as it was. */
  now(): Promise<void> {
    const next = this.#last.then(() => this.#reload());
    this.#last = next.catch(() => {});
    return next;
  }

  /** As `now`, with what went wrong in the log. */
  async attempt(): Promise<void> {
    try {
      await this.now();
    } catch (thrown) {
      this.#options.log.error(
        { error: errorText(thrown) },
        "certificates could not be read again; the old ones stay",
      );
    }
  }

  async #reload(): Promise<void> {
    const { certificates, authentication, revocation, listeners, provide, audit, log } = this.#options;
    authentication.reload();
    if (await certificates.reload()) {
      for (const listener of listeners) listener.reloadTls();
      log.info({}, "the server has a new certificate");
      audit.recordServer("reloaded", "new server certificate");
    }
    await revocation.reload();
    await provide();
  }
}
