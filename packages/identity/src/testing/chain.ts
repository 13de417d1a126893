import { createHash, createHmac, pbkdf2Sync } from "node:crypto";

import type { Clock } from "@postern/core/clock";

import { AuthenticationChain } from "../authentication/chain.ts";
import type { CredentialsRequest, CredentialsResult, ExchangeStep } from "../authentication/credentials.ts";
import { FailureRecorder } from "../authentication/failure-recorder.ts";
import { PasswordAuthenticator } from "../authentication/password-authenticator.ts";
import { Scram } from "../authentication/scram-exchange.ts";
import { SecretJudge } from "../authentication/secret-judge.ts";
import { newDevice, type Device } from "../device.ts";
import type { Hook, HookAnswer } from "../hook/hook.ts";
import { createPasswordCredential } from "../password/password-credential.ts";
import { PasswordQueue } from "../password/password-queue.ts";
import { TokenVerifier } from "../tokens/token-verifier.ts";

export const nowMs = Date.UTC(2027, 0, 1);
const clock: Clock = { wallMs: () => nowMs, monotonicMs: () => 1_000_000 };

const generated = await createPasswordCredential("generated-password", { generated: true });
const chosen = await createPasswordCredential("correct horse battery", { generated: false });

export const certificateOf = (name: string): Uint8Array => Buffer.from(name);

/** Parts of a request and of its peer, in one. */
export type RequestParts = Partial<CredentialsRequest["peer"]> & Partial<Omit<CredentialsRequest, "peer">>;

/** A request over TLS that presents nothing but `parts`. */
export function requestWith(parts: RequestParts): CredentialsRequest {
  const { clientId = "c", username, password, ...peer } = parts;
  return {
    peer: {
      listener: "l",
      anonymousAllowed: false,
      confidential: true,
      address: "192.0.2.1",
      port: 1,
      certificate: undefined,
      ...peer,
    },
    clientId,
    username,
    password,
  };
}

/** A chain over devices `pump` (generated password), `desk` (a chosen one), `meter` (none), `thief` (revoked) and `lamp` (PSK). */
export function prepareChain(
  options: { readonly hook?: (name: string) => HookAnswer; readonly queue?: PasswordQueue } = {},
) {
  const devices = new Map<string, Device>();
  const put = (name: string, parts: Partial<Device>): void =>
    void devices.set(name, { ...newDevice({ name, tenant: "default" }, nowMs), ...parts });
  put("pump", { password: generated });
  put("desk", { password: chosen });
  put("meter", {});
  put("thief", {
    password: generated,
    revoked: { at: new Date(nowMs).toISOString(), reason: "keyCompromise" },
  });
  put("lamp", { psk: { identity: "lamp", key: "a2V5" } });
  const directory = { find: (name: string) => devices.get(name) };
  const failures = new FailureRecorder({ clock });
  const asked: string[] = [];
  const hook: Hook | undefined =
    options.hook === undefined
      ? undefined
      : {
          ask: (request) => {
            asked.push(request.username ?? "");
            return Promise.resolve(options.hook?.(request.username ?? "") ?? { kind: "deny" });
          },
        };
  const chain = new AuthenticationChain({
    transport: {
      authenticate: ({ peer }) => {
        const name = peer.pskIdentity ?? Buffer.from(peer.certificate ?? []).toString();
        const isKnown =
          peer.pskIdentity === undefined ? name !== "foreign" : devices.get(name)?.psk !== undefined;
        return isKnown
          ? { kind: "accepted", identity: { name, anonymous: false }, untilMs: nowMs + 1_000 }
          : { kind: "refused", reasonCode: 0x87, reason: "nobody here has it" };
      },
    },
    secrets: new SecretJudge({
      devices: directory,
      passwords: new PasswordAuthenticator({
        devices: directory,
        queue:
          options.queue ?? new PasswordQueue({ runningMax: 2, waitingMax: 64, waitMsMax: 10_000 }, () => 0),
      }),
      tokens: new TokenVerifier({ issuers: [], devices: directory, clock }),
      hook,
      failures,
    }),
    scram: new Scram({ devices: directory, failures, secret: Buffer.alloc(32, 1) }),
    failures,
  });
  const connect = async (parts: RequestParts): Promise<CredentialsResult> =>
    chain.authenticate(requestWith(parts));
  return { chain, put, failures, connect, asked };
}

/** A result in a word: who by what, or the reason code. */
export function outcome(result: CredentialsResult | ExchangeStep): string {
  if (result.kind === "continue") return "continue";
  return result.kind === "accepted"
    ? `${result.identity.name} by ${result.by}`
    : `0x${result.reasonCode.toString(16)}`;
}

function hmac(key: Uint8Array, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

/** The client's side of SCRAM-SHA-256. @see RFC 5802 §3 */
export function scramClient(
  name: string,
  secret: string,
  changes: { header?: string; binding?: string; nonce?: string } = {},
) {
  const { header = "n,,", nonce = "rOprNGfwEbeRWgbNEkqO" } = changes;
  const bare = `n=${name},r=${nonce}`;
  return {
    first: Buffer.from(header + bare),
    final(serverFirst: string, tamper: (final: string) => string = (final) => final) {
      const [, r = "", s = "", i = ""] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(serverFirst) ?? [];
      const salted = pbkdf2Sync(secret, Buffer.from(s, "base64"), Number(i), 32, "sha256");
      const clientKey = hmac(salted, "Client Key");
      const withoutProof = `c=${Buffer.from(changes.binding ?? header).toString("base64")},r=${r}`;
      const authMessage = `${bare},${serverFirst},${withoutProof}`;
      const signature = hmac(createHash("sha256").update(clientKey).digest(), authMessage);
      const proof = Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0)));
      return {
        message: Buffer.from(tamper(`${withoutProof},p=${proof.toString("base64")}`)),
        expected: `v=${hmac(hmac(salted, "Server Key"), authMessage).toString("base64")}`,
      };
    },
  };
}
