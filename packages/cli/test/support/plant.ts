import { writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { join } from "node:path";

import { encodeCrl } from "@postern/pki/crl/encode";
import {
  issueDevice,
  issueIntermediate,
  issueOcspResponder,
  issueRoot,
  type Issuer,
  type KeyPair,
  type Validity,
} from "@postern/pki/issue";
import { certificateOf, fieldsOf } from "@postern/pki/testing";
import { connect, type IClientOptions, type MqttClient } from "mqtt";

const dayMs = 86_400_000;

export function days(from: number, to: number): Validity {
  return { notBeforeMs: Date.now() + from * dayMs, notAfterMs: Date.now() + to * dayMs };
}

/** Another authority than the server's, with an authority below it that issues to devices, and its files. */
export class Plant {
  readonly directory: string;
  readonly root: KeyPair;
  readonly issuing: KeyPair;
  readonly responder: KeyPair;

  private constructor(directory: string, keys: Pick<Plant, "root" | "issuing" | "responder">) {
    this.directory = directory;
    this.root = keys.root;
    this.issuing = keys.issuing;
    this.responder = keys.responder;
  }

  /** Its root is in `plant-ca.pem`, and the root's CRL in `root.crl`. */
  static async make(directory: string): Promise<Plant> {
    const root = await issueRoot({ commonName: "Plant root", validity: days(-3, 30) });
    const issuing = await issueIntermediate({ commonName: "Plant", validity: days(-3, 30), issuer: root });
    const responder = await issueOcspResponder({ validity: days(-1, 7), issuer: issuing });
    const plant = new Plant(directory, { root, issuing, responder });
    plant.write("plant-ca.pem", root.certificate);
    plant.write("root.crl", plant.crl([], { issuer: root }));
    return plant;
  }

  write(name: string, content: string | Uint8Array): string {
    const path = join(this.directory, name);
    writeFileSync(path, content);
    return path;
  }

  device(
    name: string,
    changes: { validity?: Validity; issuer?: Issuer; tenant?: string } = {},
  ): Promise<KeyPair> {
    const { validity = days(-1, 1), issuer = this.issuing, tenant = "plant" } = changes;
    return issueDevice({ tenant, device: name, validity, issuer });
  }

  crl(
    revoked: readonly KeyPair[],
    options: { issuer?: KeyPair; fromMs?: number; untilMs?: number } = {},
  ): Buffer {
    const { issuer = this.issuing, fromMs = Date.now(), untilMs = fromMs + dayMs } = options;
    return encodeCrl({
      issuer: fieldsOf(issuer.certificate),
      key: issuer.key,
      number: Math.floor(fromMs / 1_000),
      thisUpdateMs: fromMs,
      nextUpdateMs: untilMs,
      revocations: revoked.map(({ certificate }) => ({
        serialNumber: certificateOf(certificate).serialNumber,
        revokedAtMs: Date.now(),
        reason: 1,
      })),
    });
  }

  /** TLS options of a client with this certificate, its authority's beside it. */
  credentials({ certificate, key }: KeyPair): { readonly cert: string; readonly key: string } {
    return { cert: certificate + this.issuing.certificate, key };
  }
}

/** A configuration with both TLS listeners and this trust anchor. */
export function withAnchor(anchor: string): string {
  return `listeners:\n  - url: mqtts://127.0.0.1:0\n  - url: wss://127.0.0.1:0\n    name: web\nmetrics: { url: off }\nest: { url: off }\ntrustAnchors:\n  - { file: plant-ca.pem, tenant: plant, ${anchor} }\n`;
}

/** How a connection attempt ended: connected, or the reason code of CONNACK; `undefined` when there was none. */
export interface Attempt {
  readonly client: MqttClient;
  readonly code: number | undefined;
}

/** Connects in MQTT 5 once. The client is connected when `code` is 0. */
export async function attempt(url: string | undefined, options: IClientOptions): Promise<Attempt> {
  const client = connect(url ?? "", {
    protocolVersion: 5,
    reconnectPeriod: 0,
    connectTimeout: 10_000,
    ...options,
  });
  let code: number | undefined;
  client.on("packetreceive", (packet) => {
    if (packet.cmd === "connack") code = packet.reasonCode ?? 0;
  });
  client.on("error", () => {});
  await new Promise<void>((resolve) => {
    client.once("connect", () => resolve());
    client.once("close", () => resolve());
  });
  if (code !== 0) client.end(true);
  return { client, code };
}

/** An HTTP server that answers every request alike, gone when the scope ends. */
export class Answering implements AsyncDisposable {
  readonly #server: Server;
  readonly url: string;
  /** What is answered; `undefined` to answer nothing at all. */
  answer: ((body: Uint8Array) => Uint8Array) | undefined;
  count = 0;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.url = `http://127.0.0.1:${port}/`;
    server.on("request", (request, response) => {
      this.count += 1;
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        if (this.answer !== undefined) response.end(this.answer(Buffer.concat(chunks)));
      });
    });
  }

  static async start(): Promise<Answering> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
    const address = server.address();
    if (typeof address !== "object" || address === null) throw new Error("no port");
    return new Answering(server, address.port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
