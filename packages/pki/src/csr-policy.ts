import { Purpose } from "./certificate.ts";
import { CsrRefusal, refusedRequest, type CertificateRequest, type RefusedRequest } from "./csr.ts";
import { formatDeviceUri, type DeviceUri } from "./device-uri.ts";

export interface Applicant extends DeviceUri {
  /**
   * What a challenge password may be: the connection's channel bindings in base64 (RFC 7030 §3.5). `undefined` where there is
   * no connection, as for a file: then the attribute has no meaning.
   */
  readonly channelBindings?: readonly string[];
}

/**
 * Whether a device that proved to be `applicant` may be given what its request asks for. Names and uses come from us in any case: a
 * request may leave them out, and may not ask for others.
 * @returns `undefined` when it may.
 */
export function judgeRequest(request: CertificateRequest, applicant: Applicant): RefusedRequest | undefined {
  const { commonNames, uris, otherNames, authority, purposes, challengePassword } = request;
  const { device, channelBindings } = applicant;
  const uri = formatDeviceUri(applicant);
  if (authority) return refusedRequest(CsrRefusal.authority, "it asks to be a certificate authority");
  if (commonNames.length > 1 || commonNames.some((name) => name !== device))
    return refusedRequest(CsrRefusal.name, `its common name is not "${device}"`);
  if (otherNames > 0 || uris.length > 1 || uris.some((name) => name !== uri))
    return refusedRequest(CsrRefusal.name, `it asks for alternative names other than the one URI ${uri}`);
  if (purposes.some((purpose) => purpose !== Purpose.clientAuth))
    return refusedRequest(CsrRefusal.usage, "it asks for extended key usages other than clientAuth");
  if (
    challengePassword !== undefined &&
    channelBindings !== undefined &&
    !channelBindings.includes(challengePassword)
  ) {
    return refusedRequest(
      CsrRefusal.channel,
      "its challengePassword is not the channel binding of this connection",
    );
  }
  return undefined;
}
