import { errorCode, errorText } from "@postern/core/errors";
import type { Credential } from "@postern/core/bundle";
import type { ProtocolVersion } from "@postern/mqtt/packets";
import { ReasonCode, reasonCodeOfReturnCode } from "@postern/mqtt/reason-codes";

import { ConnectionError, ServerRefusedError, reasonText } from "./errors.ts";
import type { ConnectSettings } from "./settings.ts";
import { stapleRefused } from "./staple-check.ts";
import { isEncrypted, type Target } from "./target.ts";
import { certificateInstead, type TransportPhase } from "./transport.ts";
import { visible } from "./visible.ts";

/** What is found out about a failure: a clause for the sentence, and whether trying again can help. */
interface Finding {
  readonly clause: string;
  readonly retry: boolean;
}

const network: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused: is the server running, and listening there?",
  ENOTFOUND: "there is no host of this name",
  EAI_AGAIN: "the name could not be looked up: no name server answers",
  EHOSTUNREACH: "the host cannot be reached from here",
  ENETUNREACH: "there is no route to its network",
  ECONNRESET: "the server broke off the connection",
  EPIPE: "the server broke off the connection",
  EACCES: "this user may not use it",
  ENOENT: "there is no such socket: is the server running?",
  ENOTSOCK: "it is not a socket",
};

const unknownAuthority =
  "its certificate was not issued by the certificate authority we trust: it is another server, or somebody is in between";
const notTls = "what answers there does not speak TLS";

const certificates: Readonly<Record<string, string>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: unknownAuthority,
  SELF_SIGNED_CERT_IN_CHAIN: unknownAuthority,
  DEPTH_ZERO_SELF_SIGNED_CERT: unknownAuthority,
  CERT_SIGNATURE_FAILURE: unknownAuthority,
  CERT_UNTRUSTED: unknownAuthority,
  INVALID_CA: unknownAuthority,
  INVALID_PURPOSE: "its certificate is not one for servers",
  CERT_REVOKED: "its certificate was revoked",
  ERR_SSL_WRONG_VERSION_NUMBER: notTls,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: notTls,
  ERR_SSL_HTTP_REQUEST: notTls,
  ERR_SSL_UNSUPPORTED_PROTOCOL: "it offers no version of TLS that is safe (1.2 or later)",
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: "it offers no version of TLS that is safe (1.2 or later)",
};

/** The names in a certificate that belongs to another host; empty when they cannot be told. */
function namesOf(error: unknown): string {
  if (typeof error !== "object" || error === null || !("cert" in error)) return "";
  const { cert } = error;
  if (typeof cert !== "object" || cert === null || !("subjectaltname" in cert)) return "";
  return typeof cert.subjectaltname === "string"
    ? visible(cert.subjectaltname.replaceAll(/(DNS|IP Address):/g, ""))
    : "";
}

function tlsFinding(code: string, error: unknown, target: Target): string | undefined {
  const now = new Date().toISOString();
  switch (code) {
    case "CERT_HAS_EXPIRED":
      return `its certificate has expired (by this machine's clock it is ${now})`;
    case "CERT_NOT_YET_VALID":
      return `its certificate is not valid yet: is this machine's clock right? It says ${now}`;
    case "ERR_TLS_CERT_ALTNAME_INVALID": {
      const host = target.kind === "unix" ? target.path : target.host;
      const names = namesOf(error);
      return `its certificate is not for ${host}${names === "" ? "" : `, but for ${names}`}: use a name that is in it`;
    }
    case stapleRefused:
      return errorText(error);
    default:
      return certificates[code];
  }
}

/** `ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED` and its kind: the server said so in TLS. @see RFC 8446 §6.2 */
function alertFinding(code: string, expiredSince: string | undefined): string | undefined {
  const alert = /^ERR_SSL_(?:TLSV\d+|SSL\/TLS|SSLV3)_ALERT_(.+)$/.exec(code)?.[1];
  if (alert === undefined) return undefined;
  const words = alert.toLowerCase().replaceAll("_", " ");
  return `the server refused us in TLS (${words})${expiredNote(expiredSince)}`;
}

function expiredNote(expiredSince: string | undefined, what = "certificate"): string {
  return expiredSince === undefined
    ? ""
    : `; our ${what} expired on ${expiredSince}: get a new bundle from the server`;
}

/**
 * The error's code. An error of TLS that comes up while something is being written is an EPROTO whose text holds what
 * OpenSSL says; its code would have been made of the same words.
 */
function codeOf(error: unknown): string {
  const code = errorCode(error) ?? "";
  const reason = code === "EPROTO" ? /:SSL routines:[^:]*:([^:]+):/.exec(errorText(error))?.[1] : undefined;
  return reason === undefined ? code : `ERR_SSL_${reason.toUpperCase().replaceAll(" ", "_")}`;
}

/** What is to be known of a connection to explain what goes wrong with TLS. */
type TlsSettings = Pick<ConnectSettings, "tls" | "expiredSince" | "knock" | "bundleProof">;

/** What may be the reason when nothing at all answers. */
function silenceHint({ knock, bundleProof }: TlsSettings): string {
  if (knock !== undefined)
    return "we knocked, so the address or this machine's clock is wrong, the device was revoked, this bundle was replaced by a newer one, or the server is down";
  const hidden =
    bundleProof === undefined
      ? "the server is hidden"
      : "the server is hidden and this bundle does not say how to knock (one of `postern device rotate` does)";
  return `the address is wrong, ${hidden}, or a firewall drops the connection`;
}

/** What goes wrong with a pre-shared key: the other side cannot tell whether identity or key is wrong, and must not. */
function pskFinding(code: string, { tls: { psk } }: TlsSettings): string | undefined {
  if (psk === undefined) {
    return code.endsWith("_HANDSHAKE_FAILURE")
      ? "the server refused us in TLS (handshake failure): it may be a listener for pre-shared keys, or know none of our cipher suites"
      : undefined;
  }
  if (/_ALERT_(DECRYPT_ERROR|BAD_RECORD_MAC)$/.test(code))
    return `the server does not accept our pre-shared key: it does not know "${visible(psk.identity)}", or the key is another now`;
  const answersByCertificate = code === certificateInstead || certificates[code] === unknownAuthority;
  return answersByCertificate || code.endsWith("_HANDSHAKE_FAILURE")
    ? "what answers there does not take pre-shared keys: it is another listener, or somebody is in between"
    : undefined;
}

function finding(error: unknown, target: Target, settings: TlsSettings): Finding {
  const code = codeOf(error);
  const psk = pskFinding(code, settings);
  if (psk !== undefined) return { clause: psk, retry: false };
  const tls = tlsFinding(code, error, target) ?? alertFinding(code, settings.expiredSince);
  if (tls !== undefined) return { clause: tls, retry: false };
  if (code === "ETIMEDOUT") return { clause: `no answer: ${silenceHint(settings)}`, retry: true };
  const [firstLine = ""] = errorText(error).split("\n", 1);
  return { clause: network[code] ?? firstLine, retry: true };
}

/** The error of a connection that could not be made, or broke, because of `error` of its stream. */
export function streamError(error: unknown, target: Target, settings: TlsSettings): ConnectionError {
  const { clause, retry } = finding(error, target, settings);
  return new ConnectionError(`cannot connect to ${target.url}: ${clause}`, { retry, cause: error });
}

/** The error of a connection where nothing came in time. */
export function timeoutError(
  target: Target,
  phase: TransportPhase,
  settings: ConnectSettings,
): ConnectionError {
  const clauses: Readonly<Record<TransportPhase, string>> = {
    connecting: "no answer",
    securing: "it accepts connections but does not answer in TLS",
    open: "it accepts connections but does not answer in MQTT",
  };
  const hint = phase === "connecting" ? `: ${silenceHint(settings)}` : "";
  return new ConnectionError(
    `cannot connect to ${target.url}: ${clauses[phase]} within ${settings.connectTimeoutMs / 1_000} s${hint}`,
    { retry: true },
  );
}

function certificateHint({ tls, expiredSince }: ConnectSettings): string {
  if (tls.psk !== undefined) return "it may not accept our pre-shared key";
  if (tls.cert === undefined) return "it may want a client certificate";
  return `it may not accept our certificate${expiredNote(expiredSince)}`;
}

/** The error of a connection that the server closed before it said anything in MQTT. */
export function closedEarlyError(target: Target, settings: ConnectSettings): ConnectionError {
  const hints = [
    ...(isEncrypted(target) ? [certificateHint(settings)] : []),
    ...(isEncrypted(target) || target.kind === "unix" ? [] : ["it may want TLS (mqtts:// or wss://)"]),
    ...(settings.protocolVersion === 5
      ? [`it may not know MQTT 5${settings.wording?.olderVersion ?? ""}`]
      : []),
  ];
  const hint = hints.length === 0 ? "" : `: ${hints.join(", or ")}`;
  return new ConnectionError(
    `cannot connect to ${target.url}: the server closed the connection without an answer${hint}`,
    { retry: true },
  );
}

/** The error of a server whose answer cannot be understood. */
export function notMqttError(error: unknown, target: Target): ConnectionError {
  return new ConnectionError(
    `cannot connect to ${target.url}: what answers there does not speak MQTT (${errorText(error)})`,
    { retry: false, cause: error },
  );
}

/** How what can be changed is called where the settings come from. */
export interface Wording {
  /** Follows "it may not know MQTT 5". */
  readonly olderVersion: string;
  /** What to do about a CONNACK, by its reason code. */
  readonly connack: ReadonlyMap<number, string>;
}

const connackHints: ReadonlyMap<number, string> = new Map([
  [ReasonCode.clientIdentifierNotValid, "choose another client id"],
  [ReasonCode.badUserNameOrPassword, "check user name and password"],
  [
    ReasonCode.notAuthorized,
    "it does not know this device, or wants a certificate, or a user name and password",
  ],
  [ReasonCode.banned, "ask whoever runs the server"],
  [ReasonCode.packetTooLarge, "the will or a property is too large for it"],
  [ReasonCode.qosNotSupported, "choose a lower QoS for the will"],
  [ReasonCode.retainNotSupported, "do not retain the will"],
]);

/** What may be wrong with a bundle that the server once made. */
const bundleHints: Readonly<Record<Credential["kind"], string>> = {
  certificate: "it does not take the certificate in the bundle",
  password: "it does not take the password in the bundle",
  token: "it does not take the token in the bundle",
  psk: "it does not take the pre-shared key in the bundle any more",
};

function bundleHint(reasonCode: number, { bundleProof }: ConnectSettings): string | undefined {
  const isRefusal =
    reasonCode === ReasonCode.badUserNameOrPassword || reasonCode === ReasonCode.notAuthorized;
  if (bundleProof === undefined || !isRefusal) return undefined;
  return `${bundleHints[bundleProof]}: the device was revoked or given another; get a new bundle from whoever runs the server`;
}

/** Refusals that are the server's trouble of the moment: worth another try later. */
const passing: ReadonlySet<number> = new Set([
  ReasonCode.success,
  ReasonCode.unspecifiedError,
  ReasonCode.implementationSpecificError,
  ReasonCode.serverUnavailable,
  ReasonCode.serverBusy,
  ReasonCode.serverShuttingDown,
  ReasonCode.keepAliveTimeout,
  ReasonCode.messageRateTooHigh,
  ReasonCode.quotaExceeded,
  ReasonCode.connectionRateExceeded,
  ReasonCode.maximumConnectTime,
]);

/** Whether a refused CONNECT, or a DISCONNECT with this reason, may go better later. */
export function isPassing(reasonCode: number): boolean {
  return passing.has(reasonCode);
}

/** What the server said with its refusal. */
export interface Refusal {
  /** The reason code of MQTT 5, or the return code of MQTT 3. */
  readonly code: number;
  readonly version: ProtocolVersion;
  readonly reasonString: string | undefined;
}

function quoted(reasonString: string | undefined): string {
  return reasonString === undefined || reasonString === ""
    ? ""
    : `, saying ${visible(JSON.stringify(reasonString))}`;
}

/** The error of a CONNECT that was refused. @see MQTT 5.0 §3.2.2.2; MQTT 3.1.1 §3.2.2.3 */
export function connackError(
  { code, version, reasonString }: Refusal,
  target: Target,
  settings: ConnectSettings,
): ServerRefusedError {
  const reasonCode = version === 5 ? code : (reasonCodeOfReturnCode(code) ?? ReasonCode.unspecifiedError);
  const expired = expiredNote(settings.expiredSince, settings.bundleProof);
  const hint =
    expired === ""
      ? (bundleHint(reasonCode, settings) ??
        settings.wording?.connack.get(reasonCode) ??
        connackHints.get(reasonCode))
      : undefined;
  return new ServerRefusedError(
    `${target.url} refused the connection: ${reasonText(reasonCode)}${quoted(reasonString)}${hint === undefined ? "" : `; ${hint}`}${expired}`,
    reasonCode,
  );
}

/** The error of a DISCONNECT from the server. @see MQTT 5.0 §3.14 */
export function disconnectError({ code, reasonString }: Refusal, target: Target): ServerRefusedError {
  const reason = code === ReasonCode.success ? " without a reason" : `: ${reasonText(code)}`;
  const hint = code === ReasonCode.sessionTakenOver ? "; somebody else uses the same client id" : "";
  return new ServerRefusedError(
    `${target.url} ended the connection${reason}${quoted(reasonString)}${hint}`,
    code,
  );
}
