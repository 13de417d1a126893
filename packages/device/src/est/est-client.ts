import { isIP } from "node:net";
import { connect, type TLSSocket } from "node:tls";

import { decodeCertificate, type Certificate } from "@postern/pki/certificate";
import { decodeCertsOnly } from "@postern/pki/pkcs7";

import type { TlsCredentials } from "../credentials.ts";
import { ConnectionError, EnrolmentAnswerError, EnrolmentRefusedError } from "../errors.ts";
import { streamError } from "../explain.ts";
import type { KnockSettings } from "../knock.ts";
import { KnockingSocket } from "../knocking-socket.ts";
import { visible } from "../visible.ts";

/** As in the broker: an import statement would load all of undici. */
const { request } = process.getBuiltinModule("node:http");

/** A chain of certificates is far smaller. */
const answerBytesMax = 262_144;
const timeoutMs = 20_000;
/** Of what a server says of its refusal. */
const sentenceCharactersMax = 300;

/** Where an EST server is. */
export interface EstPlace {
  readonly host: string;
  readonly port: number;
  /** `https://host:port`, for messages. */
  readonly url: string;
  /** How to knock first; `undefined` where it is not hidden. */
  readonly knock?: KnockSettings | undefined;
}

export interface EstRequest {
  readonly method: "GET" | "POST";
  readonly path: string;
  /** A certification request in base64. */
  readonly body?: string;
  /** For HTTP Basic. */
  readonly user?: { readonly name: string; readonly secret: string };
}

export interface EstAnswer {
  readonly status: number;
  readonly text: string;
}

/** `undefined` when `text` is no address of an EST server. */
export function parseEstUrl(text: string): EstPlace | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const plain =
    url?.pathname === "/" && url.search === "" && url.hash === "" && url.username + url.password === "";
  if (url?.protocol !== "https:" || !plain) return undefined;
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  return { host, port: Number(url.port === "" ? 443 : url.port), url: url.origin };
}

/** The sentence for what is no such address. */
export function notAnEstUrl(text: string): string {
  return `"${text}" is not the address of an enrolment server: write https://host:port`;
}

/** `ca` undefined with `anyServer`: whoever answers, to be judged by what it shows. */
export interface EstTls extends TlsCredentials {
  readonly anyServer?: true;
}

/** @throws {ConnectionError} */
function openSocket({ host, port, url, knock }: EstPlace, tls: EstTls): Promise<TLSSocket> {
  const { ca, cert, key, anyServer } = tls;
  return new Promise((resolve, reject) => {
    const hidden = knock === undefined ? undefined : new KnockingSocket(host, port, knock);
    const socket = connect({
      host,
      port,
      ...(hidden === undefined ? {} : { socket: hidden }),
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      // Neither the environment nor a default of the runtime decides.
      rejectUnauthorized: anyServer !== true,
      minVersion: "TLSv1.2",
      timeout: timeoutMs,
    });
    const target = { kind: "tls", host, port, url } as const;
    hidden?.once("error", (error) => socket.destroy(error));
    // Node does so by itself only for a socket that it made.
    if (hidden !== undefined) socket.setTimeout(timeoutMs);
    socket.once("secureConnect", () => resolve(socket));
    socket.once("error", (error) => reject(streamError(error, target, { tls, expiredSince: undefined })));
    socket.once("timeout", () => {
      socket.destroy();
      reject(
        new ConnectionError(`cannot connect to ${url}: no answer within ${timeoutMs / 1_000} s`, {
          retry: true,
        }),
      );
    });
  });
}

/**
 * One request to an EST server, on a connection of its own.
 * @throws {ConnectionError} when there is no answer.
 */
export async function askEst(place: EstPlace, tls: EstTls, asked: EstRequest): Promise<EstAnswer> {
  const socket = await openSocket(place, tls);
  const { method, path, body = "", user } = asked;
  const headers = {
    host: new URL(place.url).host,
    connection: "close",
    ...(method === "GET"
      ? {}
      : { "content-type": "application/pkcs10", "content-length": String(Buffer.byteLength(body)) }),
    ...(user === undefined
      ? {}
      : { authorization: `Basic ${Buffer.from(`${user.name}:${user.secret}`, "utf8").toString("base64")}` }),
  };
  return new Promise<EstAnswer>((resolve, reject) => {
    const broken = (why: string) =>
      reject(new ConnectionError(`${place.url} did not answer: ${why}`, { retry: true }));
    const sent = request({ createConnection: () => socket, method, path, headers, timeout: timeoutMs });
    sent.on("response", (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > answerBytesMax) sent.destroy(new Error("its answer is too long"));
        else chunks.push(chunk);
      });
      response.on("error", (error) => broken(error.message));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") }),
      );
    });
    sent.on("timeout", () => sent.destroy(new Error(`nothing came within ${timeoutMs / 1_000} s`)));
    sent.on("error", (error) => broken(error.message));
    sent.end(method === "GET" ? undefined : body);
  }).finally(() => socket.destroy());
}

/** The text of an answer. @throws {EnrolmentRefusedError} with what the server says, when it is not 200. */
export function granted({ status, text }: EstAnswer, { url }: EstPlace, what: string): string {
  if (status === 200) return text;
  const [line = ""] = text.slice(0, sentenceCharactersMax).split("\n", 1);
  throw new EnrolmentRefusedError(`${url} refuses ${what} (HTTP ${status}): ${visible(line)}`, status);
}

/** The certificates of a certs-only answer. @throws {EnrolmentAnswerError} */
export function certificatesOf(text: string, { url }: EstPlace): Certificate[] {
  const base64 = text.replace(/\s+/g, "");
  const decoded = /^[A-Za-z0-9+/]+={0,2}$/.test(base64)
    ? decodeCertsOnly(Buffer.from(base64, "base64"))
    : undefined;
  const certificates = decoded?.kind === "value" ? decoded.value.map((der) => decodeCertificate(der)) : [];
  const readable = certificates.filter((certificate) => certificate !== undefined);
  if (readable.length === 0 || readable.length !== certificates.length)
    throw new EnrolmentAnswerError(`what ${url} answers are no certificates in PKCS #7`);
  return readable;
}
