import type { Certificate } from "@postern/pki/certificate";

/**
 * What is known of the status of certificates must be: `require`, known to be good; `soft`, not known to be revoked;
 * `off`, nothing: nobody is asked.
 */
export type RevocationPolicy = "require" | "soft" | "off";

/** Authorities of others that may say who a device is, within one tenant. */
export interface TrustAnchor {
  /** For messages: the file it came from. */
  readonly name: string;
  readonly certificates: readonly Certificate[];
  /** Its certificates are for devices of this tenant and no other. */
  readonly tenant: string;
  readonly policy: RevocationPolicy;
  /** CRLs that are looked at whatever certificates say. */
  readonly crls: readonly CrlSource[];
  /** Asked instead of the responder that a certificate names. */
  readonly ocspUrl: string | undefined;
  /** Take no OCSP answer without our nonce in it. */
  readonly nonceRequired: boolean;
  /** How old what is known may be before it is asked again. */
  readonly refreshMs: number;
}

export type CrlSource =
  | { readonly kind: "file"; readonly path: string }
  /** `configured`: named by a person rather than by a certificate. */
  | { readonly kind: "url"; readonly url: string; readonly configured: boolean };

/** Where the status of certificates comes from; sockets and files are its business. */
export interface StatusSources {
  /**
   * GET, or POST of `body` as an OCSP request. Resolves with what came with status 200, of a bounded size and in bounded time.
   * Rejects with one sentence; also for an address that a certificate may not send us to.
   */
  fetch(request: StatusRequest): Promise<Uint8Array>;
  /** A file's content; `undefined` when it is the same as at the last call with this path. Throws when it cannot be read. */
  readIfChanged(path: string): Uint8Array | undefined;
  /** Random bytes for a nonce. */
  nonce(bytes: number): Uint8Array;
}

export interface StatusRequest {
  readonly url: string;
  readonly configured: boolean;
  readonly body: Uint8Array | undefined;
}
