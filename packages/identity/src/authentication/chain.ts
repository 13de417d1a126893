import type { CredentialsRequest as TransportRequest } from "../authenticator.ts";
import {
  anonymous,
  quoted,
  refused,
  RefusalCode,
  type Accepted,
  type CredentialsRequest,
  type CredentialsResult,
  type Exchange,
  type Refused,
} from "./credentials.ts";
import type { FailureRecorder } from "./failure-recorder.ts";
import type { SealedPasswords } from "./sealed-passwords.ts";
import type { SecretJudge } from "./secret-judge.ts";
import { scramMethod, type Scram } from "./scram-exchange.ts";

/** The method of OAuth access tokens as AUTH data. */
const tokenMethod = "OAUTH2-JWT";

type TransportResult = Refused | Omit<Accepted, "by">;

export interface ChainOptions {
  /** Judges certificates and PSK identities alone. */
  readonly transport: {
    authenticate(request: TransportRequest): TransportResult | Promise<TransportResult>;
  };
  readonly secrets: SecretJudge;
  readonly scram: Scram;
  /** Opens what is encrypted to the server's key. */
  readonly sealed?: Pick<SealedPasswords, "open"> | undefined;
  readonly failures: FailureRecorder;
}

/**
 * Decides what a connection must prove by what it presents. Everything presented must be right and say the same name.
 *
 *     presented                                 decided by
 *     ─────────────────────────────────────────────────────────────────────────────────────────
 *     authentication method SCRAM-SHA-256       SCRAM keys of the device (MQTT 5)
 *     authentication method OAUTH2-JWT          token (MQTT 5)
 *     client certificate                        its bytes, our authority, the device registry
 *     PSK identity                              TLS proved the key; the device registry
 *     password that is a token                  token, where there is an issuer for it
 *     user name and password                    the device's password; for other names the hook, where there is one
 *     none of these, or a user name alone       let in as nobody on anonymous listeners, refused elsewhere
 *
 * A certificate or PSK identity beside one of the others: both must hold, for the same name. A user name beside a certificate, a PSK
 * identity or a token must be empty or that name. Listeners in plain text look at no password, token or SCRAM; those with
 * `sealedPasswords` at passwords and tokens that are encrypted to the server's key.
 */
export class AuthenticationChain {
  readonly #options: ChainOptions;

  constructor(options: ChainOptions) {
    this.#options = options;
  }

  authenticate(request: CredentialsRequest): CredentialsResult | Promise<CredentialsResult> {
    const transport = this.#transportProof(request);
    return transport instanceof Promise
      ? transport.then((known) => this.#decide(request, known))
      : this.#decide(request, transport);
  }

  /** @see MQTT 5.0 §4.12 */
  exchange(method: string, request: CredentialsRequest): Exchange | undefined {
    const { scram, secrets } = this.#options;
    if (method === scramMethod) return this.#beside(request, scram.start(request));
    if (method !== tokenMethod) return undefined;
    return this.#beside(request, {
      next: async (data) => {
        const result = await secrets.judgeToken(request, data ?? new Uint8Array());
        return result.kind === "accepted" ? { ...result, data: undefined } : result;
      },
    });
  }

  #decide(
    request: CredentialsRequest,
    transport: CredentialsResult | undefined,
  ): CredentialsResult | Promise<CredentialsResult> {
    if (transport?.kind === "refused") return transport;
    const { peer, username, password } = request;
    const named = username !== undefined && username !== "";
    if (transport !== undefined && named && username !== transport.identity.name)
      return this.#failed(
        request,
        transport,
        refused(
          RefusalCode.badUserNameOrPassword,
          `it proved to be ${transport.identity.name} and gave the user name ${quoted(username)}`,
        ),
      );
    if (password !== undefined && password.length > 0 && peer.confidential)
      return this.#options.secrets
        .judge(request, password)
        .then((result) => (transport === undefined ? result : this.#agreed(request, transport, result)));
    if (password !== undefined && password.length > 0 && peer.sealedPasswords === true)
      return this.#unsealed(request, password);
    if (transport !== undefined) return transport;
    if (peer.anonymousAllowed) return anonymous;
    if (password !== undefined && password.length > 0)
      return refused(RefusalCode.notAuthorized, "it sent a password in plain text, where none is taken");
    return named
      ? refused(RefusalCode.badUserNameOrPassword, `it gave the user name ${quoted(username)} and no proof`)
      : refused(RefusalCode.notAuthorized, "it presented nothing that proves who it is");
  }

  /** What is encrypted to the server's key, in plain text all around. */
  async #unsealed(request: CredentialsRequest, bytes: Uint8Array): Promise<CredentialsResult> {
    const opened = this.#options.sealed?.open(bytes, request);
    if (opened?.kind !== "opened") {
      this.#options.failures.record(
        { address: request.peer.address, identity: request.username ?? "" },
        "password",
      );
      return refused(RefusalCode.badUserNameOrPassword, opened?.reason ?? "there is no key to open it");
    }
    let isAccepted = false;
    try {
      const result = await this.#options.secrets.judge(
        { ...request, password: opened.password },
        opened.password,
      );
      isAccepted = result.kind === "accepted";
      return result.kind === "accepted" ? { ...result, by: `sealed ${result.by}` } : result;
    } finally {
      opened.settle(isAccepted);
    }
  }

  /** What the transport proved; `undefined` when it proved nothing because nothing was presented. */
  #transportProof(
    request: CredentialsRequest,
  ): CredentialsResult | undefined | Promise<CredentialsResult | undefined> {
    const { certificate, pskIdentity } = request.peer;
    if (certificate === undefined && pskIdentity === undefined) return undefined;
    const result = this.#options.transport.authenticate(request);
    return result instanceof Promise
      ? result.then((known) => this.#byTransport(request, known))
      : this.#byTransport(request, result);
  }

  #byTransport({ peer, username }: CredentialsRequest, result: TransportResult): CredentialsResult {
    const isPsk = peer.pskIdentity !== undefined;
    if (result.kind === "accepted") return { ...result, by: isPsk ? "PSK" : "certificate" };
    const claim = { address: peer.address, identity: peer.pskIdentity ?? username ?? "" };
    // That it cannot be found out whether a certificate is revoked is not the client's doing.
    if (result.reasonCode !== RefusalCode.serverUnavailable)
      this.#options.failures.record(claim, isPsk ? "psk" : "certificate");
    return result;
  }

  #agreed(request: CredentialsRequest, first: Accepted, second: CredentialsResult): CredentialsResult {
    if (second.kind === "refused") return second;
    if (first.identity.name !== second.identity.name)
      return this.#failed(
        request,
        first,
        refused(
          RefusalCode.notAuthorized,
          `it proved to be ${first.identity.name} by ${first.by} and ${second.identity.name} by ${second.by}`,
        ),
      );
    return {
      ...first,
      untilMs: Math.min(first.untilMs, second.untilMs),
      by: `${first.by} and ${second.by}`,
    };
  }

  #failed(request: CredentialsRequest, { by }: Accepted, result: Refused): Refused {
    const claim = { address: request.peer.address, identity: request.username ?? "" };
    this.#options.failures.record(claim, by === "PSK" ? "psk" : "certificate");
    return result;
  }

  /** An exchange that counts only together with what the transport proved. */
  #beside(request: CredentialsRequest, exchange: Exchange): Exchange {
    const { peer, password } = request;
    if (!peer.confidential)
      return never(refused(RefusalCode.notAuthorized, "it authenticates in plain text, where nobody may"));
    if (password !== undefined && password.length > 0)
      return never(refused(RefusalCode.notAuthorized, "it sent a password beside the authentication method"));
    if (peer.certificate === undefined && peer.pskIdentity === undefined) return exchange;
    return {
      next: async (data) => {
        const transport = await this.#transportProof(request);
        if (transport?.kind === "refused") return transport;
        const step = await exchange.next(data);
        if (step.kind !== "accepted" || transport === undefined) return step;
        const result = this.#agreed(request, transport, step);
        return result.kind === "accepted" ? { ...result, data: step.data } : result;
      },
    };
  }
}

function never(result: Refused): Exchange {
  return { next: () => result };
}
