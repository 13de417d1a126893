import { setTimeout as delay } from "node:timers/promises";

import {
  quoted,
  refused,
  RefusalCode,
  type CredentialsRequest,
  type CredentialsResult,
} from "./credentials.ts";
import type { FailureKind, FailureRecorder } from "./failure-recorder.ts";
import type { DeviceDirectory, PasswordAuthenticator } from "./password-authenticator.ts";
import { SameAttempts } from "./same-attempts.ts";
import type { TokenVerifier } from "../tokens/token-verifier.ts";
import type { Hook } from "../hook/hook.ts";

export interface SecretJudgeOptions {
  readonly devices: DeviceDirectory;
  readonly passwords: PasswordAuthenticator;
  readonly tokens: TokenVerifier;
  /** A user store outside; `undefined` for none. */
  readonly hook: Hook | undefined;
  readonly failures: FailureRecorder;
  /** Waits; tests do not. */
  readonly wait?: (ms: number) => Promise<void>;
}

/** What somebody said that is to prove who they are, judged. `failure` says what it counts as when it does not. */
type Judgement =
  | Exclude<CredentialsResult, { readonly kind: "refused" }>
  | { readonly kind: "failed"; readonly failure: FailureKind; readonly reason: string }
  /** Nothing was judged. */
  | { readonly kind: "dropped"; readonly reasonCode: 0x88 | 0x89; readonly reason: string };

/** Judges passwords and tokens, after asking whether this source may try now. */
export class SecretJudge {
  readonly #options: SecretJudgeOptions;
  readonly #wait: (ms: number) => Promise<void>;
  readonly #same = new SameAttempts<CredentialsResult>();

  constructor(options: SecretJudgeOptions) {
    this.#options = options;
    this.#wait = options.wait ?? ((ms) => delay(ms, undefined, { ref: false }));
  }

  /** What stands in CONNECT's password. */
  judge(request: CredentialsRequest, password: Uint8Array): Promise<CredentialsResult> {
    const { tokens } = this.#options;
    const claimed = tokens.claimOf(password);
    return claimed === undefined
      ? this.#judgePassword(request, password)
      : this.#throttled(request, claimed, () => this.#token(request, password));
  }

  /** What stands in the authentication data of the method OAUTH2-JWT. */
  judgeToken(request: CredentialsRequest, token: Uint8Array): Promise<CredentialsResult> {
    const { tokens, hook } = this.#options;
    const claimed = tokens.claimOf(token);
    if (claimed === undefined && hook !== undefined)
      return this.#throttled(request, request.username ?? "", () => this.#ask(hook, request, { token }));
    return this.#throttled(request, claimed ?? "", () => this.#token(request, token));
  }

  async #judgePassword(request: CredentialsRequest, password: Uint8Array): Promise<CredentialsResult> {
    const { username } = request;
    if (username === undefined || username === "")
      return refused(
        RefusalCode.badUserNameOrPassword,
        "it gave a password that is no token of a known issuer, and no user name",
      );
    const judge = (): Promise<CredentialsResult> =>
      this.#throttled(request, username, () => this.#password(request, username, password));
    // What a hook is asked is about one connection.
    if (this.#options.hook !== undefined) return judge();
    return this.#same.join({ address: request.peer.address, username, password }, judge);
  }

  async #throttled(
    { peer }: CredentialsRequest,
    identity: string,
    judge: () => Promise<Judgement>,
  ): Promise<CredentialsResult> {
    const verdict = this.#options.failures.begin({ address: peer.address, identity });
    if (verdict.kind === "refuse") return refused(RefusalCode.connectionRateExceeded, verdict.reason);
    const { attempt } = verdict;
    let judgement: Judgement;
    try {
      if (verdict.kind === "wait") await this.#wait(verdict.waitMs);
      judgement = await judge();
    } catch (thrown) {
      attempt.dropped();
      throw thrown;
    }
    switch (judgement.kind) {
      case "accepted":
        attempt.succeeded();
        return judgement;
      case "failed":
        attempt.failed(judgement.failure);
        return refused(RefusalCode.badUserNameOrPassword, judgement.reason);
      case "dropped":
        attempt.dropped();
        return refused(judgement.reasonCode, judgement.reason);
    }
  }

  async #password(request: CredentialsRequest, username: string, password: Uint8Array): Promise<Judgement> {
    const { passwords, hook, devices } = this.#options;
    const verified = passwords.verify(username, password);
    // Whoever the registry knows is never the hook's: it could say that somebody else is the device.
    if (hook === undefined || devices.find(username) !== undefined)
      return passwordJudgement(username, await verified);
    // Both, so that an answer takes no less time for a name that only the hook could know.
    const [asked, own] = await Promise.all([this.#ask(hook, request, { password }), verified]);
    return own.kind === "busy" ? passwordJudgement(username, own) : asked;
  }

  async #token(request: CredentialsRequest, token: Uint8Array): Promise<Judgement> {
    const verdict = await this.#options.tokens.verify(token, request.peer.certificate);
    if (verdict.kind === "refused")
      return { kind: "failed", failure: "token", reason: `its token is refused: ${verdict.reason}` };
    if (verdict.kind === "unavailable")
      return { kind: "dropped", reasonCode: RefusalCode.serverUnavailable, reason: verdict.reason };
    const { identity, untilMs } = verdict;
    const { username } = request;
    if (username !== undefined && username !== "" && username !== identity.name)
      return {
        kind: "failed",
        failure: "token",
        reason: `its token is for ${identity.name} and it gave the user name ${quoted(username)}`,
      };
    return { kind: "accepted", identity, untilMs, by: "token" };
  }

  async #ask(
    hook: Hook,
    request: CredentialsRequest,
    secret: { readonly password: Uint8Array } | { readonly token: Uint8Array },
  ): Promise<Judgement> {
    const answer = await hook.ask(request, secret);
    switch (answer.kind) {
      case "allow":
        return this.#options.devices.find(answer.identity.name) === undefined
          ? { kind: "accepted", identity: answer.identity, untilMs: answer.untilMs, by: "hook" }
          : {
              kind: "failed",
              failure: "password",
              reason: `the hook answered with the name of the device ${answer.identity.name}`,
            };
      case "deny":
        return {
          kind: "failed",
          failure: "token" in secret ? "token" : "password",
          reason: `the hook refuses ${quoted(request.username ?? "")}`,
        };
      case "unavailable":
        return {
          kind: "dropped",
          reasonCode: RefusalCode.serverUnavailable,
          reason: `the hook cannot be asked: ${answer.reason}`,
        };
    }
  }
}

function passwordJudgement(
  username: string,
  verdict: Awaited<ReturnType<PasswordAuthenticator["verify"]>>,
): Judgement {
  switch (verdict.kind) {
    case "right":
      return {
        kind: "accepted",
        identity: { name: verdict.name, anonymous: false },
        untilMs: Infinity,
        by: "password",
      };
    case "wrong":
      return {
        kind: "failed",
        failure: "password",
        reason: `the password of ${quoted(username)} is refused: ${verdict.reason}`,
      };
    case "busy":
      return {
        kind: "dropped",
        reasonCode: RefusalCode.serverBusy,
        reason: "too many passwords wait to be verified",
      };
  }
}
