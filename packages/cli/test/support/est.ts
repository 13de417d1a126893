import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";
import { request as httpsRequest } from "node:https";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { dataDirectoryAt } from "@postern/identity/data-directory";
import { createRequest, type NewRequest } from "@postern/pki/csr-create";
import { decodeCertificate, type Certificate } from "@postern/pki/certificate";
import { toPem } from "@postern/pki/pem";
import { decodeCertsOnly } from "@postern/pki/pkcs7";

import { askServer } from "../../src/admin/client.ts";
import { newTokenResult, type NewTokenResult } from "../../src/admin/enrolment-protocol.ts";
import { configured } from "./configurations.ts";
import { up, type StartOptions, type TestServer } from "./postern.ts";

/** MQTT over TLS and EST on free ports, without metrics. */
export const withEst = `
listeners:
  - url: mqtts://127.0.0.1:0
metrics: { url: off }
est:
  url: https://127.0.0.1:0
`;

/** A certificate and the key that its device made. */
export interface Held {
  readonly certificate: Certificate;
  /** PEM. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
}

export interface EstRequest {
  readonly path: string;
  readonly method?: "GET" | "POST";
  readonly body?: string | Buffer;
  readonly type?: string;
  /** `name:token` */
  readonly userAndToken?: string;
  readonly as?: Pick<Held, "cert" | "key">;
}

export interface EstAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

export function newKey(): KeyObject {
  return generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
}

/** A request in base64 with a new key unless given. */
export function csr(request: Partial<NewRequest> & { readonly device: string }): string {
  return createRequest({ key: newKey(), ...request }).toString("base64");
}

/** A running server with EST, and a client of it that is not ours. */
export class EstTest implements AsyncDisposable {
  readonly server: TestServer;
  readonly url: string;
  readonly ca: string;

  private constructor(server: TestServer, url: string) {
    this.server = server;
    this.url = url;
    this.ca = readFileSync(join(server.data, "pki", "root.crt"), "utf8");
  }

  static async start(
    directory: string,
    configuration = withEst,
    options: StartOptions = {},
  ): Promise<EstTest> {
    const server = await up(configured(directory, configuration), { cwd: directory, ...options });
    const [, url] = /^ +enrolment +(https:\S+)$/m.exec(server.process.stdout) ?? [];
    if (url === undefined) throw new Error(`no EST server:\n${server.process.stdout}`);
    return new EstTest(server, url);
  }

  get directory() {
    return dataDirectoryAt(this.server.data);
  }

  /** A token for a device, as `postern device enrol` makes it. */
  token(
    device: string,
    changes: { readonly lifeMs?: number; readonly roles?: string[] } = {},
  ): Promise<NewTokenResult> {
    const { lifeMs = 60_000, roles = [] } = changes;
    return askServer(this.directory, process.cwd(), {
      method: "POST",
      path: "/enrolment/tokens",
      body: { device, tenant: "default", roles, groups: [], lifeMs },
      answer: newTokenResult,
    });
  }

  send({ path, method, body, type, userAndToken, as }: EstRequest): Promise<EstAnswer> {
    const headers = {
      ...(type === undefined ? {} : { "content-type": type }),
      ...(userAndToken === undefined
        ? {}
        : { authorization: `Basic ${Buffer.from(userAndToken).toString("base64")}` }),
    };
    return new Promise((resolve, reject) => {
      const sent = httpsRequest(
        new URL(path, this.url),
        {
          method: method ?? (body === undefined ? "GET" : "POST"),
          headers,
          ca: this.ca,
          agent: false,
          ...as,
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("error", reject);
          response.on("end", () => {
            const { statusCode: status = 0 } = response;
            resolve({ status, headers: response.headers, text: Buffer.concat(chunks).toString("utf8") });
          });
        },
      );
      sent.on("error", reject);
      sent.end(body);
    });
  }

  /** Asks for a first certificate. */
  simpleEnroll(body: string, userAndToken?: string): Promise<EstAnswer> {
    const path = "/.well-known/est/simpleenroll";
    return this.send({
      path,
      body,
      type: "application/pkcs10",
      ...(userAndToken === undefined ? {} : { userAndToken }),
    });
  }

  simpleReenroll(body: string, as?: Pick<Held, "cert" | "key">): Promise<EstAnswer> {
    const path = "/.well-known/est/simplereenroll";
    return this.send({ path, body, type: "application/pkcs10", ...(as === undefined ? {} : { as }) });
  }

  /** Enrols a device as one should. */
  async enrol(device: string, roles: string[] = []): Promise<Held> {
    const key = newKey();
    const { token } = await this.token(device, { roles });
    return held(await this.simpleEnroll(csr({ device, key }), token), key);
  }

  /** Everything in the audit log, once it matches: an event is written a moment after the answer. @throws when that does not come. */
  async audit(pattern: RegExp): Promise<string> {
    const path = join(this.directory.audit, "audit.jsonl");
    for (let tries = 0; ; tries += 1) {
      const text = readFileSync(path, "utf8");
      if (pattern.test(text)) return text;
      if (tries > 200) throw new Error(`the audit log has nothing like ${String(pattern)}:\n${text}`);
      await delay(10);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }
}

/** The one certificate of an answer. @throws when there is none. */
export function held({ status, text }: EstAnswer, key: KeyObject): Held {
  if (status !== 200) throw new Error(`${status}: ${text}`);
  const decoded = decodeCertsOnly(Buffer.from(text, "base64"));
  if (decoded.kind === "malformed") throw new Error(decoded.reason);
  const [der = Buffer.alloc(0)] = decoded.value;
  const certificate = decodeCertificate(der);
  if (certificate === undefined || decoded.value.length !== 1) throw new Error("not one certificate");
  const pem = key.export({ format: "pem", type: "pkcs8" });
  return { certificate, cert: toPem("CERTIFICATE", der), key: pem.toString() };
}
