import { randomBytes } from "node:crypto";
import { dirname, resolve } from "node:path";

import type { Broker } from "@postern/broker/broker";
import type { Clock } from "@postern/core/clock";
import { errorText } from "@postern/core/errors";
import type { Log } from "@postern/core/log";
import { RefusalCode, refused, type Refused } from "@postern/identity/authentication/credentials";
import type {
  CertificateAuthenticator,
  CredentialsRequest,
  CredentialsResult,
} from "@postern/identity/authenticator";
import { ForeignAuthenticator } from "@postern/identity/foreign/foreign-authenticator";
import { RevocationChecker } from "@postern/identity/foreign/revocation-checker";
import type { DeviceRegistry } from "@postern/identity/registry";
import { ReasonCode } from "@postern/mqtt/reason-codes";

import type { Configuration } from "../../config/configuration.ts";
import type { FileAuditLog } from "../audit-log.ts";
import { StatusFetcher } from "./status-fetcher.ts";
import { TrustAnchorFiles } from "./trust-anchor-files.ts";

/** How often it is looked whether files have changed. */
const lookMs = 2_000;

export interface ForeignDevicesOptions {
  readonly configuration: Configuration;
  readonly cwd: string;
  readonly registry: DeviceRegistry;
  /** Judges the certificates of our own authority. */
  readonly own: CertificateAuthenticator;
  readonly clock: Clock;
  readonly log: Log;
  readonly audit: Pick<FileAuditLog, "recordForeignCertificate">;
}

/** What becomes of those that are in. */
export interface ForeignDevicesActions {
  /** The authorities to ask clients for are others. */
  readonly reloadTls: () => void;
  readonly broker: Pick<Broker, "endSessionsOf" | "endConnectionsOf">;
}

/** Devices with certificates of other authorities: the trust anchors of the configuration, and what is known of revocation. */
export class ForeignDevices implements Disposable {
  readonly #options: ForeignDevicesOptions;
  readonly #files: TrustAnchorFiles;
  readonly #authenticator: ForeignAuthenticator;
  readonly #timers: NodeJS.Timeout[] = [];
  #checking = false;

  /** @throws {ConfigError} for a trust anchor that cannot be used. */
  constructor(options: ForeignDevicesOptions) {
    this.#options = options;
    const { configuration, cwd, registry, clock, audit } = options;
    const { trustAnchors, file = "" } = configuration;
    const files = new TrustAnchorFiles(trustAnchors, dirname(resolve(cwd, file)), file);
    const fetcher = new StatusFetcher();
    const sources = {
      fetch: fetcher.fetch.bind(fetcher),
      readIfChanged: files.readCrlIfChanged.bind(files),
      nonce: randomBytes,
    };
    this.#files = files;
    this.#authenticator = new ForeignAuthenticator({
      registry,
      anchors: () => files.anchors,
      checker: new RevocationChecker(sources, clock),
      clock,
      onUndetermined: (identity, detail) =>
        audit.recordForeignCertificate({ kind: "revocation-undetermined", identity, detail }),
    });
  }

  /** Of the names of the authorities that TLS is to ask clients for (PEM). */
  get authorities(): readonly string[] {
    return this.#files.namesakes;
  }

  /** Begins to look for files that change and certificates that are revoked. */
  watch(actions: ForeignDevicesActions): void {
    const { trustAnchors } = this.#options.configuration;
    if (trustAnchors.length === 0) return;
    const refreshMs = Math.min(...trustAnchors.map(({ refreshSeconds }) => refreshSeconds)) * 1_000;
    this.#timers.push(
      setInterval(() => this.#look(actions), lookMs).unref(),
      setInterval(() => void this.#recheck(actions), refreshMs).unref(),
    );
  }

  /** By our own authority's certificate or a pre-shared key, or by another authority's. */
  authenticate(request: CredentialsRequest): CredentialsResult | Promise<CredentialsResult> {
    const { own } = this.#options;
    const { certificate, pskIdentity, intermediates } = request.peer;
    const isForeign = pskIdentity === undefined && certificate !== undefined && this.#authenticator.isInUse;
    if (!isForeign || own.knows(certificate)) return own.authenticate(request);
    return this.#authenticateForeign(certificate, intermediates ?? (() => []));
  }

  [Symbol.dispose](): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  async #authenticateForeign(
    certificate: Uint8Array,
    intermediates: () => readonly Uint8Array[],
  ): Promise<CredentialsResult> {
    const result = await this.#authenticator.authenticate(certificate, intermediates);
    if (result.kind === "accepted")
      return {
        kind: "accepted",
        identity: { name: result.device, anonymous: false },
        untilMs: result.untilMs,
      };
    return this.#refusal(result);
  }

  #refusal({
    reason,
    device,
    revoked,
  }: {
    reason: string;
    device: string | undefined;
    revoked: boolean;
  }): Refused {
    if (device === undefined)
      return refused(RefusalCode.notAuthorized, `its certificate is refused: ${reason}`);
    // Not the client's fault: it may come again when the status can be found out.
    const code = revoked ? RefusalCode.notAuthorized : RefusalCode.serverUnavailable;
    return refused(code, `the certificate of ${device} is refused: ${reason}`);
  }

  #look(actions: ForeignDevicesActions): void {
    const { log } = this.#options;
    const changed = this.#files.reload((file, reason) =>
      log.error({ file, error: reason }, "a trust anchor could not be read again; the last good one stays"),
    );
    if (!changed) return;
    log.info({}, "trust anchors have changed");
    actions.reloadTls();
    void this.#recheck(actions);
  }

  /** Sessions of a revoked certificate are forgotten; where nothing can be found out, its device may come back to them later. */
  #withdrawn(
    device: string,
    { reason, revoked }: { readonly reason: string; readonly revoked: boolean },
    broker: ForeignDevicesActions["broker"],
  ): void {
    if (revoked) broker.endSessionsOf(device, ReasonCode.administrativeAction);
    else broker.endConnectionsOf(device, ReasonCode.administrativeAction);
    this.#options.audit.recordForeignCertificate({
      kind: "certificate-withdrawn",
      identity: device,
      detail: reason,
    });
  }

  async #recheck({ broker }: ForeignDevicesActions): Promise<void> {
    if (this.#checking) return;
    this.#checking = true;
    try {
      await this.#authenticator.recheck((device, refusal) => this.#withdrawn(device, refusal, broker));
    } catch (thrown) {
      this.#options.log.error({ error: errorText(thrown) }, "certificates could not be looked at again");
    } finally {
      this.#checking = false;
    }
  }
}
