import { createHmac, randomBytes } from "node:crypto";

import type { Clock } from "@postern/core/clock";
import { errorText } from "@postern/core/errors";
import { decodeCertificate } from "@postern/pki/certificate";
import { isDeviceName } from "@postern/pki/device-uri";
import { z } from "zod";

import { BoundedMap } from "../authentication/bounded-map.ts";
import type { CredentialsRequest } from "../authentication/credentials.ts";
import { isOutsideName } from "../authentication/outside-names.ts";
import type { Hook, HookAnswer, PresentedSecret } from "./hook.ts";

const names = z.array(z.string().refine(isDeviceName)).max(64);

/** What the hook must answer; anything else lets nobody in. */
const answerSchema = z.discriminatedUnion("result", [
  z.strictObject({
    result: z.literal("allow"),
    /** The user name unless given. */
    name: z.string().refine(isOutsideName).optional(),
    roles: names.optional(),
    groups: names.optional(),
    /** When the connection ends. */
    until: z.iso.datetime({ offset: true }).optional(),
  }),
  z.strictObject({ result: z.literal("deny") }),
]);

export interface HttpHookOptions {
  /** Sends a JSON body to the configured URL; rejects for anything but a 200 with a body within bounds and in time. */
  readonly post: (body: string) => Promise<string>;
  readonly clock: Clock;
  /** How many questions may be open at once. */
  readonly concurrentMax: number;
  /** How long an "allow" is remembered; 0 for not at all. */
  readonly cacheSeconds: number;
}

const cachedMax = 10_000;

/** Asks a user store over HTTP. Whatever goes wrong, nobody is let in. */
export class HttpHook implements Hook {
  readonly #options: HttpHookOptions;
  readonly #cacheKey = randomBytes(32);
  readonly #cached = new BoundedMap<{ readonly answer: HookAnswer; readonly untilMs: number }>(cachedMax);
  #open = 0;

  constructor(options: HttpHookOptions) {
    this.#options = options;
  }

  async ask(request: CredentialsRequest, secret: PresentedSecret): Promise<HookAnswer> {
    const { concurrentMax, cacheSeconds, clock, post } = this.#options;
    const body = bodyOf(request, secret);
    if (body === undefined) return { kind: "deny" };
    const mark = createHmac("sha256", this.#cacheKey).update(body).digest("base64");
    const cached = cacheSeconds === 0 ? undefined : this.#cached.get(mark);
    if (cached !== undefined && clock.wallMs() < cached.untilMs) return cached.answer;
    if (this.#open >= concurrentMax)
      return { kind: "unavailable", reason: `${concurrentMax} questions are open already` };
    this.#open += 1;
    let answer: HookAnswer;
    try {
      answer = this.#read(await post(body), request.username);
    } catch (thrown) {
      return { kind: "unavailable", reason: errorText(thrown) };
    } finally {
      this.#open -= 1;
    }
    if (answer.kind === "allow" && cacheSeconds > 0)
      this.#cached.set(mark, {
        answer,
        untilMs: Math.min(answer.untilMs, clock.wallMs() + cacheSeconds * 1_000),
      });
    return answer;
  }

  #read(text: string, username: string | undefined): HookAnswer {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return { kind: "unavailable", reason: "its answer is no JSON" };
    }
    const result = answerSchema.safeParse(value);
    if (!result.success) {
      const [issue] = result.error.issues;
      const where = issue?.path.join(".") ?? "";
      return { kind: "unavailable", reason: `its answer is wrong ("${where}": ${issue?.message ?? ""})` };
    }
    if (result.data.result === "deny") return { kind: "deny" };
    const { name = username ?? "", roles = [], groups = [], until } = result.data;
    if (!isOutsideName(name))
      return { kind: "unavailable", reason: "it answered with no name, or with one that cannot be used" };
    const untilMs = until === undefined ? Infinity : Date.parse(until);
    if (untilMs <= this.#options.clock.wallMs()) return { kind: "deny" };
    return { kind: "allow", identity: { name, anonymous: false, roles, groups }, untilMs };
  }
}

/** The question; `undefined` for a secret that is no text. */
function bodyOf(
  { peer, clientId, username }: CredentialsRequest,
  secret: PresentedSecret,
): string | undefined {
  const kind = "password" in secret ? "password" : "token";
  const bytes = "password" in secret ? secret.password : secret.token;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
  const certificate = peer.certificate === undefined ? undefined : decodeCertificate(peer.certificate);
  return JSON.stringify({
    clientId,
    username: username ?? null,
    [kind]: text,
    certificate:
      certificate === undefined
        ? null
        : { fingerprint: certificate.fingerprint, serialNumber: certificate.serialNumber },
    peer: { address: peer.address, listener: peer.listener },
  });
}
