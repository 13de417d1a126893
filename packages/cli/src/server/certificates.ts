import type { TlsMaterial } from "@postern/broker/ports";
import type { Clock } from "@postern/core/clock";
import type { Log } from "@postern/core/log";
import { CertificateAuthenticator } from "@postern/identity/authenticator";
import type { DataDirectory } from "@postern/identity/data-directory";
import { refusalOfDevice } from "@postern/identity/device";
import { openInstallation, type Installation } from "@postern/identity/installation";
import type { DeviceRegistry } from "@postern/identity/registry";

import type { Configuration } from "../config/configuration.ts";
import { givenCertificateFiles } from "./given-certificate.ts";
import { statusUrls } from "./revocation/status-urls.ts";
import type { Status } from "../admin/protocol.ts";

const dayMs = 86_400_000;

/** The authority is somebody's work. */
const warnDays = 30;

const serverWarnDays = 7;

/** Devices renew themselves at two thirds of 30 days: with less than this something keeps one from it. */
const deviceWarnDays = 7;
/** A fleet that was forgotten must not fill the screen. */
const devicesShownMax = 20;

export interface CertificatesOptions {
  readonly directory: DataDirectory;
  readonly configuration: Configuration;
  readonly hosts: readonly string[];
  /** The configuration's file is relative to it. */
  readonly cwd: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Who is who on a running server, and what its TLS listeners show; can be read again while it runs. */
export class Certificates {
  readonly authenticator: CertificateAuthenticator;
  readonly #options: CertificatesOptions;
  #installation: Installation;
  #staple: (() => Uint8Array | undefined) | undefined;
  #foreignAuthorities: () => readonly string[] = () => [];

  private constructor(options: CertificatesOptions, installation: Installation) {
    this.#options = options;
    this.#installation = installation;
    this.authenticator = new CertificateAuthenticator({
      registry: installation.registry,
      issuers: () => this.#installation.authority.issuers,
      clock: options.clock,
    });
  }

  /** Reads, or at the first start makes, authority, server certificate and registry. @throws as `openInstallation`. */
  static async open(options: CertificatesOptions): Promise<Certificates> {
    return new Certificates(options, await Certificates.#read(options));
  }

  static #read(
    { directory, configuration, hosts, cwd, clock }: CertificatesOptions,
    registry?: DeviceRegistry,
  ): Promise<Installation> {
    const urls = statusUrls(configuration.revocation);
    const { mustStaple } = configuration.tls;
    const given = givenCertificateFiles(configuration, cwd);
    return openInstallation({ directory, hosts, urls, mustStaple, given, nowMs: clock.wallMs(), registry });
  }

  get installation(): Installation {
    return this.#installation;
  }

  /** Reads certificates again, renews what is due. @returns whether the server's certificate is another now. @throws and changes nothing. */
  async reload(): Promise<boolean> {
    const { registry, server } = this.#installation;
    const read = await Certificates.#read(this.#options, registry);
    registry.compact();
    this.#installation = read;
    this.authenticator.clearCache();
    return read.server.certificate.fingerprint !== server.certificate.fingerprint;
  }

  /** From now on `staple` is asked for the OCSP answer that goes with the server's certificate. */
  useStaple(staple: () => Uint8Array | undefined): void {
    this.#staple = staple;
  }

  /** Clients are asked for certificates of these authorities, too (PEM). */
  useAuthorities(authorities: () => readonly string[]): void {
    this.#foreignAuthorities = authorities;
  }

  /** What a TLS listener shows now. */
  tlsMaterial(): TlsMaterial {
    const { server, authority } = this.#installation;
    const { tls } = this.#options.configuration;
    return {
      context: {
        key: server.key,
        cert: server.chain,
        // Both, so that a client that sends its own certificate without the chain is understood as well.
        ca: [
          authority.rootPem,
          ...authority.issuers.map(({ x509 }) => x509.toString()),
          ...this.#foreignAuthorities(),
        ],
        minVersion: `TLSv${tls.minVersion}`,
        maxVersion: `TLSv${tls.maxVersion}`,
      },
      requestCertificate: true,
      // Nobody but its issuer can say that another authority's certificate is good.
      staple: tls.certificate === undefined ? this.#staple : undefined,
    };
  }

  /** All certificates somebody may have to care for, as `postern status` shows them. */
  status(): Status["certificates"] {
    const { authority, server, registry } = this.#installation;
    const nowMs = this.#options.clock.wallMs();
    const entry = (name: string, notAfterMs: number, daysWarned = warnDays) => {
      const daysLeft = Math.floor((notAfterMs - nowMs) / dayMs);
      return { name, notAfter: new Date(notAfterMs).toISOString(), daysLeft, warning: daysLeft < daysWarned };
    };
    const devices = this.#devicesThatEnd(registry, nowMs).map(({ name, endsMs }) =>
      entry(`device ${name}`, endsMs, deviceWarnDays),
    );
    const authorityEnds = Math.min(authority.root.notAfterMs, authority.issuing.notAfterMs);
    return [
      entry("certificate authority", authorityEnds),
      // Renewed at two thirds of its life: with less than a week something keeps it from being.
      entry("server", server.certificate.notAfterMs, serverWarnDays),
      ...devices,
    ];
  }

  /** The devices that could not connect a week from now unless they get a new certificate, those that end first first. */
  #devicesThatEnd(registry: DeviceRegistry, nowMs: number): { name: string; endsMs: number }[] {
    const ending: { name: string; endsMs: number }[] = [];
    for (const device of registry.all()) {
      const { name, certificates, password, psk, tokens } = device;
      if (refusalOfDevice(device) !== undefined || password !== undefined || psk !== undefined) continue;
      const ends = [...certificates, ...tokens]
        .filter(({ revoked }) => revoked === undefined)
        .map(({ notAfter }) => Date.parse(notAfter));
      const endsMs = Math.max(...ends);
      if (ends.length > 0 && endsMs - nowMs < deviceWarnDays * dayMs) ending.push({ name, endsMs });
    }
    return ending.sort((a, b) => a.endsMs - b.endsMs).slice(0, devicesShownMax);
  }
}
