import { join } from "node:path";

import { withPolicy } from "@postern/broker/listeners/tls-policy";
import type { Bundle } from "@postern/core/bundle";
import type { Clock } from "@postern/core/clock";
import { hostAndPort } from "@postern/core/host";
import type { Log } from "@postern/core/log";
import type { FailureRecorder } from "@postern/identity/authentication/failure-recorder";
import type { DataDirectory } from "@postern/identity/data-directory";
import { refusalOfDevice, type Device } from "@postern/identity/device";
import { EnrolmentClaims, claimState, type NewClaim } from "@postern/identity/enrolment/claims";
import { EnrolmentDesk } from "@postern/identity/enrolment/desk";
import {
  EnrolmentTokens,
  isFromBefore,
  tokenState,
  type EnrolmentToken,
  type NewToken,
} from "@postern/identity/enrolment/tokens";
import { EnrolmentError } from "@postern/identity/errors";
import type { EnrolmentKnock } from "@postern/device/knock";
import { decodeCertificate } from "@postern/pki/certificate";

import type { ClaimList, NewClaimResult, NewTokenResult, TokenList } from "../admin/enrolment-protocol.ts";
import type { Configuration } from "../config/configuration.ts";
import type { KnockOf } from "../gate/bundle-knock.ts";
import type { EnrolmentDoor } from "../gate/open-door.ts";
import type { Visitor } from "../gate/visitors.ts";
import { estServers, type Machine } from "./addresses.ts";
import type { FileAuditLog } from "./audit-log.ts";
import type { Certificates } from "./certificates.ts";
import { startEstServer, type EstServer } from "./est/est-server.ts";
import { serviceListenError } from "./listen-error.ts";

export interface EnrolmentOptions {
  readonly configuration: Configuration;
  readonly directory: DataDirectory;
  readonly certificates: Certificates;
  readonly audit: FileAuditLog;
  /** Counts failed proofs. */
  readonly failures: FailureRecorder;
  readonly machine: Machine;
  readonly clock: Clock;
  readonly log: Log;
  /** Where devices find the broker, asked when one wants to know. */
  readonly servers: () => Bundle["servers"];
  /** The server's public key, as bundles have it. */
  readonly brokerKey: string;
  /** How a device knocks, where a gate hides the broker. */
  readonly knock?: KnockOf | undefined;
  /** Where the gate hides this server too. */
  readonly door?: EnrolmentDoor | undefined;
  /** Told what the person who started the server should know. */
  readonly warn: (sentence: string) => void;
}

/** A device that has just got its certificate asks once more, with that. */
const afterUseMs = 60_000;

function tokenVisitor({ id, tenant }: EnrolmentToken): Visitor {
  return { name: `enrolment:${id}`, tenant };
}

function claimVisitor({ name, tenant }: { readonly name: string; readonly tenant: string }): Visitor {
  return { name: `claim:${name}`, tenant };
}

/** Certificates for devices over the network: the tokens for it, and the server when there is one. */
export class Enrolment implements AsyncDisposable {
  readonly tokens: EnrolmentTokens;
  readonly claims: EnrolmentClaims;
  #server: EstServer | undefined;
  readonly #options: EnrolmentOptions;

  private constructor(options: EnrolmentOptions) {
    this.#options = options;
    this.tokens = new EnrolmentTokens(join(options.directory.pki, "enrolments.jsonl"));
    this.claims = new EnrolmentClaims(join(options.directory.pki, "claims.jsonl"));
  }

  /** @throws {PkiFileError} when the tokens are damaged; {@link ListenError} when an address that was asked for cannot be had. */
  static async start(options: EnrolmentOptions): Promise<Enrolment> {
    const enrolment = new Enrolment(options);
    options.door?.door.visitors.follow(() => enrolment.#visitors());
    try {
      enrolment.#server = await enrolment.#listen();
    } catch (thrown) {
      enrolment.#closeFiles();
      throw thrown;
    }
    return enrolment;
  }

  /** Where it really listens; `undefined` when it does not. */
  get url(): string | undefined {
    return this.#server?.url;
  }

  /** Where devices find it, for their bundles; `undefined` when there is none. */
  get places(): Bundle["est"] {
    const { configuration, machine } = this.#options;
    return this.url === undefined
      ? undefined
      : estServers(configuration, Number(new URL(this.url).port), machine);
  }

  /**
   * A token for one device, which is told this once.
   * @throws {EnrolmentError} when it could not be used: nobody listens, or the device may not have a certificate.
   */
  createToken(wanted: NewToken): NewTokenResult {
    const { certificates, audit, clock } = this.#options;
    const { registry, authority, serverCa } = certificates.installation;
    const urls = this.#urls();
    const { device, roles = [], groups = [] } = wanted;
    const present = registry.find(device);
    const refusal = present === undefined ? undefined : refusalOfDevice(present);
    if (refusal !== undefined)
      throw new EnrolmentError(`"${device}" cannot be given a certificate: ${refusal}`);
    if (present !== undefined && roles.length + groups.length > 0)
      throw new EnrolmentError(`"${device}" is there already and keeps its roles and groups: leave them out`);
    const { secret, token } = this.tokens.create(wanted, clock.wallMs());
    const { id, expires } = token;
    const { fingerprint } = decodeCertificate(serverCa) ?? authority.root;
    const detail = `token ${id}, good until ${expires}`;
    audit.recordEnrolment({ kind: "enrolment-token-made", address: "", identity: device, detail });
    const knock = this.#welcome(tokenVisitor(token));
    return {
      ...(knock === undefined ? {} : { knock }),
      id,
      device,
      token: `${device}:${secret}`,
      expires,
      urls,
      fingerprint,
    };
  }

  /** All tokens, newest first. */
  listTokens(): TokenList {
    const { certificates, clock } = this.#options;
    const { registry } = certificates.installation;
    const nowMs = clock.wallMs();
    return this.tokens.list().map((token) => {
      const { id, device, tenant, roles, groups, created, expires, cancelled, used } = token;
      const present = registry.find(device);
      const isOver = present !== undefined && isFromBefore(token, present);
      const own = tokenState(token, nowMs);
      const state = own === "open" && isOver ? "cancelled" : own;
      return {
        id,
        device,
        tenant,
        roles,
        groups,
        created,
        expires,
        state,
        used,
        cancelled: cancelled ?? (isOver ? present.trustedAgain : undefined),
      };
    });
  }

  /** Cancels a token by its id, or all open ones of a device. @returns their ids. @throws {EnrolmentError} when there is none. */
  cancelTokens(which: string): string[] {
    const { audit, clock } = this.#options;
    const nowMs = clock.wallMs();
    const meant = this.tokens.list().filter(({ id, device }) => id === which || device === which);
    const cancelled = meant.flatMap(({ id }) => this.tokens.cancel(id, nowMs) ?? []);
    this.#options.door?.door.visitors.look();
    if (cancelled.length === 0) {
      throw new EnrolmentError(`there is no open token of "${which}": see \`postern device enrolments\``);
    }
    for (const { id, device } of cancelled) {
      const detail = `token ${id}`;
      audit.recordEnrolment({ kind: "enrolment-token-cancelled", address: "", identity: device, detail });
    }
    return cancelled.map(({ id }) => id);
  }

  /** A claim with all that its devices need, which is told this once. @throws {EnrolmentError} */
  async createClaim(wanted: NewClaim): Promise<NewClaimResult> {
    const { certificates, audit, clock } = this.#options;
    const { authority, serverCa: ca } = certificates.installation;
    const urls = this.#urls();
    const { claim, certificate, key } = await this.claims.create(wanted, authority, clock.wallMs());
    const { name, prefix, devicesMax, expires } = claim;
    const detail = `claim "${name}" for ${devicesMax} devices "${prefix}…", good until ${expires}`;
    audit.recordEnrolment({ kind: "enrolment-claim-made", address: "", identity: name, detail });
    const est = urls.map((url) => ({ url }));
    const knock = this.#welcome(claimVisitor(claim));
    return {
      ...(knock === undefined ? {} : { knock }),
      postern: 1,
      claim: name,
      prefix,
      devicesMax,
      expires,
      est,
      ca,
      certificate,
      key,
    };
  }

  /** All claims, the oldest first. */
  listClaims(): ClaimList {
    const nowMs = this.#options.clock.wallMs();
    return this.claims.list().map((claim) => {
      const { name, tenant, prefix, roles, groups, devices, devicesMax, expires } = claim;
      return {
        name,
        tenant,
        prefix,
        roles,
        groups,
        devices,
        devicesMax,
        expires,
        state: claimState(claim, nowMs),
      };
    });
  }

  /** Ends a claim; the devices that it made stay. @throws {EnrolmentError} when there is none of this name. */
  revokeClaim(name: string): void {
    const { audit, clock } = this.#options;
    const claim = this.claims.revoke(name, clock.wallMs());
    if (claim === undefined)
      throw new EnrolmentError(`there is no claim "${name}": see \`postern device claims\``);
    this.#options.door?.door.visitors.look();
    const detail = `claim "${name}" after ${claim.devices} devices`;
    audit.recordEnrolment({ kind: "enrolment-claim-revoked", address: "", identity: name, detail });
  }

  /** Lets somebody who has no bundle yet knock. @returns how; `undefined` when nobody needs to. */
  #welcome(visitor: Visitor): EnrolmentKnock | undefined {
    const { door } = this.#options;
    door?.door.visitors.look();
    return door?.knockOf(visitor);
  }

  /** Whoever holds a token or claim that is good. */
  *#visitors(): IterableIterator<Visitor> {
    const nowMs = this.#options.clock.wallMs();
    for (const token of this.tokens.list()) {
      const usedMs = token.used === undefined ? Infinity : nowMs - Date.parse(token.used.at);
      if (tokenState(token, nowMs) === "open" || usedMs < afterUseMs) yield tokenVisitor(token);
    }
    for (const claim of this.claims.list()) {
      const state = claimState(claim, nowMs);
      if (state === "open" || state === "exhausted") yield claimVisitor(claim);
    }
  }

  /** To be called when the server's certificate is another. */
  reloadTls(): void {
    this.#server?.reloadTls();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    this.#closeFiles();
  }

  #closeFiles(): void {
    this.tokens.close();
    this.claims.close();
  }

  /** @throws {EnrolmentError} when nobody listens, so that what is asked for could not be used. */
  #urls(): string[] {
    const { places } = this;
    if (places !== undefined) return places.map(({ url }) => url);
    throw new EnrolmentError(
      "this server gives no certificates over the network: set est.url in its configuration and start it again",
    );
  }

  async #listen(): Promise<EstServer | undefined> {
    const {
      configuration,
      certificates,
      audit,
      failures,
      clock,
      log,
      servers,
      brokerKey,
      knock,
      door,
      warn,
    } = this.#options;
    const { est } = configuration;
    if (est === undefined) return undefined;
    const { host, port, certificateDays, renewalGraceDays, sameKeyRenewal } = est;
    // As on the listeners of the broker; sessions are not resumed, for a device comes once in weeks.
    const tls = () =>
      withPolicy(certificates.tlsMaterial().context, { proof: "certificate", tickets: false });
    const authority = () => certificates.installation.authority;
    const serverCa = () => certificates.installation.serverCa;
    const desk = new EnrolmentDesk({
      registry: certificates.installation.registry,
      tokens: this.tokens,
      claims: this.claims,
      authority,
      policy: { certificateDays, renewalGraceDays, sameKey: sameKeyRenewal },
      clock,
    });
    const record = audit.recordEnrolment.bind(audit);
    const places = (device: Device) => ({
      servers: servers(),
      est: this.places,
      knock: knock?.(device),
      brokerKey,
    });
    try {
      return await startEstServer(
        { host, port, tls, clock, log, door: door?.door },
        { desk, authority, serverCa, places, record, failures },
      );
    } catch (thrown) {
      const url = `https://${hostAndPort(host, port)}`;
      const error = serviceListenError({ service: "enrolment", url, key: "est.url" }, thrown);
      if (est.required) throw error;
      warn(`devices get no certificates over the network: ${error.message}`);
      return undefined;
    }
  }
}
