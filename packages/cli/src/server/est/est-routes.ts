import { setTimeout as delay } from "node:timers/promises";

import type { FastifyReply, FastifyRequest } from "fastify";

import type { Bundle } from "@postern/core/bundle";
import type { FailureRecorder } from "@postern/identity/authentication/failure-recorder";
import type { Authority } from "@postern/identity/authority";
import type { Device } from "@postern/identity/device";
import type {
  EnrolmentDesk,
  EnrolmentResult,
  IncomingRequest,
  EnrolmentRefusal,
  RefusedEnrolment,
} from "@postern/identity/enrolment/desk";
import { decodeCertificate, splitPem } from "@postern/pki/certificate";
import { encodeCsrAttributes } from "@postern/pki/csr-attributes";
import { isDeviceName } from "@postern/pki/device-uri";
import { encodeCertsOnly } from "@postern/pki/pkcs7";

import type { EnrolmentEvent } from "../audit-log.ts";
import { basicCredentials } from "./basic-credentials.ts";
import { channelOf, type Channel } from "./channel.ts";
import type { EstApp } from "./est-server.ts";

export interface EstPorts {
  readonly desk: EnrolmentDesk;
  readonly authority: () => Authority;
  /** PEM: whom devices trust for the server's own certificate, which may be of others. */
  readonly serverCa: () => string;
  /** Where devices find the broker and this server, for their bundles. */
  readonly places: (device: Device) => Pick<Bundle, "servers" | "est" | "knock" | "brokerKey">;
  readonly record: (event: EnrolmentEvent) => void;
  /** Counts failed proofs, together with those of all other services. */
  readonly failures: FailureRecorder;
}

const prefix = "/.well-known/est";

/** When to come again after too many failures; the wait of who goes on failing is longer. */
const retrySeconds = 30;

const challenge = 'Basic realm="enrolment", charset="UTF-8"';

/** Base64 as a body, which RFC 8951 §3.2 wants whatever headers say, without line ends (RFC 4648 §3.1), which strongSwan takes for data. */
function base64Body(der: Uint8Array): string {
  return Buffer.from(der).toString("base64");
}

/** Bytes of a certification request in base64, in PEM or as they are; what is neither is left for the reader of requests to refuse. */
function requestBytes(body: unknown): Uint8Array {
  if (!Buffer.isBuffer(body)) return Buffer.alloc(0);
  const text = body.toString("latin1").replace(/\s+/g, "");
  return /^[A-Za-z0-9+/]+={0,2}$/.test(text) ? Buffer.from(text, "base64") : body;
}

function incoming({ body }: FastifyRequest, { bindings, address }: Channel): IncomingRequest {
  return { request: requestBytes(body), channelBindings: bindings, from: address };
}

function say(reply: FastifyReply, status: number, text: string): FastifyReply {
  return reply.status(status).type("text/plain; charset=utf-8").send(`${text}\n`);
}

/** Statuses of HTTP; a certification request that is refused is a bad request. @see RFC 7030 §4.2.3 */
const statuses: Readonly<Partial<Record<EnrolmentRefusal, number>>> = {
  token: 401,
  certificate: 403,
  device: 403,
  claim: 403,
  rate: 429,
};

/** Whether a refusal counts against the address: a wrong proof does, an honest device's mistake does not. */
function isFailedProof({ reason }: RefusedEnrolment): boolean {
  return reason === "token" || reason === "certificate" || reason === "device";
}

function answer(reply: FastifyReply, result: EnrolmentResult): FastifyReply {
  if (result.kind === "issued") {
    return reply
      .type("application/pkcs7-mime; smime-type=certs-only")
      .send(base64Body(encodeCertsOnly([result.certificate.x509.raw])));
  }
  const status = statuses[result.reason] ?? 400;
  if (status === 401) void reply.header("www-authenticate", challenge);
  if (status === 429) void reply.header("retry-after", "3600");
  return say(reply, status, result.detail);
}

/** What may stand in a log as a name: somebody may have typed the token there. */
function claimedName(username: string): string {
  return isDeviceName(username) && !username.startsWith("pet_") ? username : "";
}

/** The routes of Enrolment over Secure Transport, and one of ours that completes a bundle. @see RFC 7030 §3.2.2, RFC 8951 */
export function estRoutes(app: EstApp, ports: EstPorts): void {
  const { desk, authority, serverCa, places, record, failures } = ports;

  function conclude(channel: Channel, isRenewal: boolean, identity: string, result: EnrolmentResult): void {
    const { address } = channel;
    if (result.kind === "issued") {
      const { serialNumber, notAfterMs } = result.certificate;
      const detail = `certificate ${serialNumber}, good until ${new Date(notAfterMs).toISOString()}`;
      record({ kind: isRenewal ? "renewed" : "enrolled", address, identity: result.device, detail });
      return;
    }
    const detail = `${result.reason}: ${result.detail}`;
    record({ kind: isRenewal ? "renewal-refused" : "enrolment-refused", address, identity, detail });
  }

  /** The device, or the claim, whose certificate the connection has, whether it is still good or not. */
  function claimantName({ certificate }: Channel): string {
    if (certificate === undefined) return "";
    return desk.claimantOf(certificate)?.name ?? desk.claimOf(certificate)?.name ?? "";
  }

  app.get(`${prefix}/cacerts`, (_request, reply) => {
    const { issuing, root } = authority();
    const ours = [issuing.x509.raw, root.x509.raw];
    const others = splitPem(serverCa()).flatMap((pem) => decodeCertificate(pem)?.x509.raw ?? []);
    const shown = [...ours, ...others.filter((raw) => !ours.some((known) => known.equals(raw)))];
    return reply
      .type("application/pkcs7-mime; smime-type=certs-only")
      .send(base64Body(encodeCertsOnly(shown)));
  });

  app.get(`${prefix}/csrattrs`, (_request, reply) =>
    reply.type("application/csrattrs").send(base64Body(encodeCsrAttributes())),
  );

  app.post(`${prefix}/simpleenroll`, async (request: FastifyRequest, reply) => {
    const channel = channelOf(request.raw.socket);
    const credentials = basicCredentials(request.headers.authorization);
    const { certificate } = channel;
    if (credentials === undefined && certificate !== undefined && desk.claimOf(certificate) !== undefined) {
      const result = await desk.claim(incoming(request, channel), certificate);
      conclude(channel, false, result.kind === "issued" ? result.device : claimantName(channel), result);
      return answer(reply, result);
    }
    if (credentials === undefined) {
      void reply.header("www-authenticate", challenge);
      return say(
        reply,
        401,
        "simpleenroll needs the device's name and its one-time token as user name and password; a device that has a certificate asks at simplereenroll",
      );
    }
    const { username: device, password: secret } = credentials;
    const claim = { address: channel.address, identity: claimedName(device) };
    const verdict = failures.begin(claim);
    if (verdict.kind === "refuse") {
      record({ kind: "enrolment-refused", ...claim, detail: `rate: ${verdict.reason}` });
      void reply.header("retry-after", String(retrySeconds));
      return say(reply, 429, "too many failures; try again later");
    }
    const { attempt } = verdict;
    if (verdict.kind === "wait") await delay(verdict.waitMs);
    let result: EnrolmentResult;
    try {
      result = await desk.enrol(incoming(request, channel), { device, secret });
    } catch (thrown) {
      attempt.dropped();
      throw thrown;
    }
    if (result.kind === "issued") attempt.succeeded();
    else if (isFailedProof(result)) attempt.failed("token");
    // The token was right, and is there for another try.
    else attempt.dropped();
    conclude(channel, false, claim.identity, result);
    return answer(reply, result);
  });

  app.post(`${prefix}/simplereenroll`, async (request: FastifyRequest, reply) => {
    const channel = channelOf(request.raw.socket);
    const { certificate } = channel;
    if (certificate === undefined) {
      return say(reply, 403, "simplereenroll needs the device's certificate in the TLS handshake");
    }
    const result = await desk.renew(incoming(request, channel), certificate);
    const identity = claimantName(channel);
    if (result.kind === "refused" && isFailedProof(result))
      failures.record({ address: channel.address, identity }, "certificate");
    conclude(channel, true, identity, result);
    return answer(reply, result);
  });

  /** Ours: what else a device's bundle holds, for a device with a good certificate. */
  app.get("/postern/device", (request, reply) => {
    const channel = channelOf(request.raw.socket);
    const found = channel.certificate === undefined ? undefined : desk.holderOf(channel.certificate);
    if (found === undefined) {
      failures.record({ address: channel.address, identity: claimantName(channel) }, "certificate");
      return say(reply, 403, "this is told to devices with a good certificate");
    }
    return reply.send({ device: found.name, tenant: found.tenant, ...places(found) });
  });
}
