import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";

import { OcspSigner, encodeOcspResponse, type CertificateStatus } from "@postern/pki/ocsp/encode-response";
import { decodeOcspRequest } from "@postern/pki/ocsp/request";
import type { KeyPair } from "@postern/pki/issue";
import { derOf, fieldsOf } from "@postern/pki/testing";

import { audited } from "../support/audit.ts";
import { configured } from "../support/configurations.ts";
import { dataBeside, prepareInstallation } from "../support/installation.ts";
import { Answering, Plant, attempt, withAnchor } from "../support/plant.ts";
import { firstBundle, scratch, up } from "../support/postern.ts";

const hourMs = 3_600_000;
const serverUnavailable = 0x88;

interface Lie {
  readonly signer?: KeyPair;
  readonly fromMs?: number;
  readonly nonce?: "echo" | "other";
  readonly status?: CertificateStatus;
}

function answering(plant: Plant, lie: Lie): (body: Uint8Array) => Uint8Array {
  const {
    signer: pair = plant.responder,
    fromMs = Date.now(),
    nonce = "echo",
    status = { kind: "good" },
  } = lie;
  const { certificate, key } = pair;
  const signer = new OcspSigner({ certificate: derOf(certificate), fields: fieldsOf(certificate), key });
  return (body) => {
    const decoded = decodeOcspRequest(body);
    if (decoded.kind === "malformed") return Buffer.from("what?");
    const [certId = assert.fail()] = decoded.value.certIds;
    return encodeOcspResponse({
      signer,
      answers: [{ certId: certId.der, status, thisUpdateMs: fromMs, nextUpdateMs: fromMs + hourMs }],
      producedAtMs: fromMs,
      nonce: nonce === "echo" ? decoded.value.nonce : randomBytes(32),
    });
  };
}

/** What can be wrong, and the reason that the audit log gives. */
const lies: readonly (readonly [
  string,
  RegExp,
  (plant: Plant, device: KeyPair) => Lie | "silent" | "html",
])[] = [
  ["the responder does not answer", /no answer within/, () => "silent"],
  ["it answers with something else", /cannot be read/, () => "html"],
  ["the answer is out of date", /out of date/, () => ({ fromMs: Date.now() - 2 * hourMs })],
  ["the answer is an old one, to another question", /replayed/, () => ({ nonce: "other" })],
  [
    "a certificate that is for clients signed it",
    /not for signing OCSP/,
    (_plant, device) => ({ signer: device }),
  ],
  ["the responder does not know the certificate", /does not know/, () => ({ status: { kind: "unknown" } })],
];

describe("attack 09: revocation that cannot be found out", () => {
  for (const policy of ["require", "soft"] as const) {
    it(`is never passed over in silence (revocation: ${policy})`, async () => {
      using place = scratch();
      await using responder = await Answering.start();
      const plant = await Plant.make(place.path);
      const names = lies.map((_lie, index) => `d${index}`);
      await prepareInstallation(
        dataBeside(place.path),
        ["honest", ...names].map((name) => ({ name, tenant: "plant" })),
      );
      const config = withAnchor(
        `revocation: ${policy}, crls: [root.crl], ocsp: "${responder.url}", refreshSeconds: 1`,
      );
      await using server = await up(configured(place.path, config));
      const { ca } = firstBundle(server.data);
      const [tcp, web] = server.urls;

      responder.answer = answering(plant, {});
      for (const url of [tcp, web]) {
        const honest = await attempt(url, { ca, ...plant.credentials(await plant.device("honest")) });
        assert.equal(honest.code, 0);
        await honest.client.endAsync();
      }
      // Last the one that lets it wait, after which it is not asked for a while.
      for (const [index, [what, reason, lieOf]] of [...lies.entries()].toReversed()) {
        const device = await plant.device(`d${index}`);
        const lie = lieOf(plant, device);
        if (lie === "silent") responder.answer = undefined;
        else responder.answer = lie === "html" ? () => Buffer.from("<html>") : answering(plant, lie);
        const { client, code } = await attempt(index % 2 === 0 ? tcp : web, {
          ca,
          ...plant.credentials(device),
        });
        client.end(true);
        assert.equal(code, policy === "require" ? serverUnavailable : 0, what);
        const kind = policy === "require" ? "connect-refused" : "revocation-undetermined";
        const event = await audited(
          server.data,
          (line) =>
            line["kind"] === kind &&
            (line["identity"] === `d${index}` || String(line["detail"]).includes(`d${index} `)),
        );
        assert.match(String(event["detail"]), reason, what);
      }
    });
  }

  it("is refused by a CRL that is out of date, and let in again by the next", async () => {
    using place = scratch();
    const plant = await Plant.make(place.path);
    const press = await plant.device("press");
    plant.write("plant.crl", plant.crl([], { fromMs: Date.now() - 30 * hourMs }));
    await prepareInstallation(dataBeside(place.path), [{ name: "press", tenant: "plant" }]);
    const config = withAnchor("crls: [root.crl, plant.crl], refreshSeconds: 1");
    await using server = await up(configured(place.path, config));
    const { ca } = firstBundle(server.data);
    const first = await attempt(server.urls[0], { ca, ...plant.credentials(press) });
    assert.equal(first.code, serverUnavailable);
    await audited(server.data, ({ detail }) => /out of date/.test(String(detail)));
    plant.write("plant.crl", plant.crl([]));
    const second = await attempt(server.urls[0], { ca, ...plant.credentials(press) });
    assert.equal(second.code, 0);
    await second.client.endAsync();
  });

  it("sends nobody to this machine or to metadata because a certificate says so", async () => {
    using place = scratch();
    await using local = await Answering.start();
    local.answer = () => Buffer.from("secret");
    const plant = await Plant.make(place.path);
    const { port } = new URL(local.url);
    await prepareInstallation(dataBeside(place.path), [{ name: "press", tenant: "plant" }]);
    await using server = await up(configured(place.path, withAnchor("crls: [root.crl]")));
    const { ca } = firstBundle(server.data);
    const targets = [
      [local.url, /127\.0\.0\.1 is an address that is never asked/],
      [`http://localhost:${port}/`, /leads to an address that is never asked/],
      [`http://[::ffff:127.0.0.1]:${port}/`, /never asked/],
      ["http://169.254.169.254/latest/meta-data", /169\.254\.169\.254 is an address that is never asked/],
      ["file:///etc/passwd", /no http/],
    ] as const;
    for (const [url, reason] of targets) {
      const press = await plant.device("press", { issuer: { ...plant.issuing, urls: { ocsp: url } } });
      const { code } = await attempt(server.urls[0], { ca, ...plant.credentials(press) });
      assert.equal(code, serverUnavailable, url);
      await audited(server.data, ({ detail }) => reason.test(String(detail)));
    }
    assert.equal(local.count, 0);
  });
});
