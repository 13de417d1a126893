import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";

import { encodeCrl } from "@postern/pki/crl/encode";
import {
  issueDevice,
  issueIntermediate,
  issueOcspResponder,
  issueRoot,
  issueServer,
  type KeyPair,
} from "@postern/pki/issue";
import { OcspSigner, encodeOcspResponse, type CertificateStatus } from "@postern/pki/ocsp/encode-response";
import { decodeOcspRequest } from "@postern/pki/ocsp/request";
import type { Revocation } from "@postern/pki/revocation";
import { certificateOf, derOf, fieldsOf } from "@postern/pki/testing";

import { newDevice, type Device } from "../device.ts";
import { ForeignAuthenticator } from "./foreign-authenticator.ts";
import { RevocationChecker } from "./revocation-checker.ts";
import type { RevocationPolicy, StatusRequest, TrustAnchor } from "./trust-anchor.ts";

const startMs = Date.UTC(2027, 0, 1);
const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
const validity = { notBeforeMs: startMs - dayMs, notAfterMs: startMs + 100 * dayMs };
const urls = { crl: "http://plant.example/plant.crl", ocsp: "http://plant.example/ocsp" };
const good: CertificateStatus = { kind: "good" };

/** An authority of others, with a responder and CRLs, and everything that can be wrong with them. */
class Plant {
  readonly root: KeyPair;
  readonly issuing: KeyPair;
  readonly device: KeyPair;
  readonly responder: KeyPair;
  readonly files = new Map<string, Uint8Array>();
  readonly now = { wallMs: startMs, monotonicMs: 0 };
  readonly asked: string[] = [];
  /** What is answered by URL; rejects for one that is not here. */
  readonly answers = new Map<string, (request: StatusRequest) => Uint8Array>();

  private constructor(keys: Pick<Plant, "root" | "issuing" | "device" | "responder">) {
    this.root = keys.root;
    this.issuing = keys.issuing;
    this.device = keys.device;
    this.responder = keys.responder;
  }

  static async make(): Promise<Plant> {
    const root = await issueRoot({ commonName: "Plant root", validity });
    const issuing = await issueIntermediate({ commonName: "Plant issuing", validity, issuer: root });
    const device = await issueDevice({
      tenant: "plant",
      device: "press",
      validity,
      issuer: { ...issuing, urls },
    });
    const responder = await issueOcspResponder({ validity, issuer: issuing });
    const plant = new Plant({ root, issuing, device, responder });
    plant.files.set("root.crl", plant.crl({ issuer: root }));
    return plant;
  }

  get clock() {
    return { wallMs: () => this.now.wallMs, monotonicMs: () => this.now.monotonicMs };
  }

  pass(ms: number): void {
    this.now.wallMs += ms;
    this.now.monotonicMs += ms;
  }

  crl(
    options: { issuer?: KeyPair; revoked?: readonly KeyPair[]; fromMs?: number; untilMs?: number } = {},
  ): Buffer {
    const {
      issuer = this.issuing,
      revoked = [],
      fromMs = this.now.wallMs,
      untilMs = fromMs + dayMs,
    } = options;
    const revocations = revoked.map((pair): Revocation => {
      const { serialNumber } = certificateOf(pair.certificate);
      return { serialNumber, revokedAtMs: startMs - hourMs, reason: 1 };
    });
    const fields = fieldsOf(issuer.certificate);
    return encodeCrl({
      issuer: fields,
      key: issuer.key,
      number: Math.floor(fromMs / 1_000),
      thisUpdateMs: fromMs,
      nextUpdateMs: untilMs,
      revocations,
    });
  }

  /** Answers the question with this status. */
  ocsp(
    status: CertificateStatus,
    options: { signer?: KeyPair; nonce?: "echo" | "none" | "other"; fromMs?: number } = {},
  ): (request: StatusRequest) => Uint8Array {
    const { signer = this.responder, nonce = "echo", fromMs } = options;
    return ({ body = new Uint8Array() }) => {
      const decoded = decodeOcspRequest(body);
      assert.ok(decoded.kind === "value");
      const [certId = assert.fail()] = decoded.value.certIds;
      const from = fromMs ?? this.now.wallMs;
      return encodeOcspResponse({
        signer: new OcspSigner({
          certificate: derOf(signer.certificate),
          fields: fieldsOf(signer.certificate),
          key: signer.key,
        }),
        answers: [{ certId: certId.der, status, thisUpdateMs: from, nextUpdateMs: from + hourMs }],
        producedAtMs: from,
        nonce: { echo: decoded.value.nonce, none: undefined, other: randomBytes(32) }[nonce],
      });
    };
  }

  anchor(policy: RevocationPolicy, changes: Partial<TrustAnchor> = {}): TrustAnchor {
    return {
      name: "plant-ca.pem",
      certificates: [certificateOf(this.root.certificate)],
      tenant: "plant",
      policy,
      // That of the root is always there: what is in question is the device.
      crls: [{ kind: "file", path: "root.crl" }],
      ocspUrl: undefined,
      nonceRequired: false,
      refreshMs: 5 * minuteMs,
      ...changes,
    };
  }

  broker(
    anchor: TrustAnchor,
    devices: readonly Device[] = [newDevice({ name: "press", tenant: "plant" }, startMs)],
  ) {
    const read = new Map<string, Uint8Array>();
    const undetermined: string[] = [];
    const anchors = { current: [anchor] };
    const registry = new Map(devices.map((device) => [device.name, device]));
    const checker = new RevocationChecker(
      {
        fetch: async (request) => {
          this.asked.push(request.url);
          const answer = this.answers.get(request.url);
          if (answer === undefined) throw new Error("connect ECONNREFUSED");
          return answer(request);
        },
        readIfChanged: (path) => {
          const bytes = this.files.get(path);
          if (bytes === undefined) throw new Error("no such file");
          if (read.get(path) === bytes) return undefined;
          read.set(path, bytes);
          return bytes;
        },
        nonce: randomBytes,
      },
      this.clock,
    );
    const authenticator = new ForeignAuthenticator({
      registry: { find: (name) => registry.get(name) },
      anchors: () => anchors.current,
      checker,
      clock: this.clock,
      onUndetermined: (_device, reason) => undetermined.push(reason),
    });
    const judge = (pair = this.device, sent: readonly KeyPair[] = [this.issuing]) =>
      authenticator.authenticate(derOf(pair.certificate), () =>
        sent.map(({ certificate }) => derOf(certificate)),
      );
    const outcome = async (pair?: KeyPair, sent?: readonly KeyPair[]) => {
      const result = await judge(pair, sent);
      return result.kind === "accepted" ? "accepted" : result.reason;
    };
    return { authenticator, judge, outcome, undetermined, registry, anchors };
  }
}

const revoked: CertificateStatus = { kind: "revoked", revokedAtMs: startMs - hourMs, reason: 1 };

describe("device with another authority's certificate", () => {
  it("is the registered one of the anchor's tenant that it names, and no other", async () => {
    const plant = await Plant.make();
    plant.answers.set(urls.ocsp, plant.ocsp(good));
    const { judge, registry, outcome } = plant.broker(plant.anchor("require"));
    const accepted = await judge();
    assert.deepEqual(accepted, { kind: "accepted", device: "press", untilMs: validity.notAfterMs });
    const issue = (tenant: string, device: string) =>
      issueDevice({ tenant, device, validity, issuer: { ...plant.issuing, urls } });
    assert.match(await outcome(await issue("default", "press")), /no device of the tenant "plant"/);
    assert.match(await outcome(await issue("plant", "other")), /there is no device "other"/);
    registry.set("admin", newDevice({ name: "admin", tenant: "default" }, startMs));
    assert.match(await outcome(await issue("plant", "admin")), /there is no device "admin" of the tenant/);
    const server = await issueServer({ hosts: ["press"], validity, issuer: plant.issuing });
    assert.match(await outcome(server), /no device|extended key usage/);
    assert.match(await outcome(plant.issuing), /a certificate authority's/);
    const stranger = await Plant.make();
    assert.match(await outcome(stranger.device, [stranger.issuing]), /not issued by/);
    // Its own certificate goes first, while it is good.
    const own = {
      fingerprint: Array.from({ length: 32 }, () => "AA").join(":"),
      serialNumber: "4711",
      notAfter: new Date(startMs + dayMs).toISOString(),
    };
    const press = registry.get("press") ?? assert.fail();
    registry.set("press", { ...press, certificates: [own] });
    assert.match(await outcome(), /of this server's own authority/);
    plant.pass(2 * dayMs);
    plant.files.set("root.crl", plant.crl({ issuer: plant.root }));
    assert.equal(await outcome(), "accepted");
    registry.set("press", {
      ...press,
      revoked: { at: new Date(startMs).toISOString(), reason: "keyCompromise" },
    });
    assert.match(await outcome(), /was revoked at/);
  });

  it("is known again when a resumed connection brings the leaf alone", async () => {
    const plant = await Plant.make();
    plant.answers.set(urls.ocsp, plant.ocsp(good));
    const { outcome } = plant.broker(plant.anchor("require"));
    assert.match(await outcome(plant.device, []), /not issued by/);
    assert.equal(await outcome(), "accepted");
    assert.equal(await outcome(plant.device, []), "accepted");
    plant.answers.set(urls.ocsp, plant.ocsp(revoked));
    plant.pass(6 * minuteMs);
    assert.match(await outcome(plant.device, []), /was revoked/);
  });

  it("is refused when it is revoked, by OCSP, by a CRL it names, or by one of the configuration", async () => {
    const plant = await Plant.make();
    plant.answers.set(urls.ocsp, plant.ocsp(revoked));
    for (const policy of ["require", "soft"] as const)
      assert.match(
        await plant.broker(plant.anchor(policy)).outcome(),
        /revoked at 2026.*keyCompromise.*OCSP/,
      );
    assert.equal(await plant.broker(plant.anchor("off")).outcome(), "accepted");
    plant.answers.delete(urls.ocsp);
    plant.answers.set(urls.crl, () => plant.crl({ revoked: [plant.device] }));
    for (const policy of ["require", "soft"] as const)
      assert.match(await plant.broker(plant.anchor(policy)).outcome(), /revoked at 2026.*keyCompromise.*CRL/);
    // What a person configured is not overruled by a responder.
    plant.answers.set(urls.ocsp, plant.ocsp(good));
    plant.files.set("plant.crl", plant.crl({ revoked: [plant.device] }));
    const crls = [
      { kind: "file", path: "root.crl" },
      { kind: "file", path: "plant.crl" },
    ] as const;
    assert.match(await plant.broker(plant.anchor("soft", { crls })).outcome(), /revoked/);
    plant.files.set("plant.crl", plant.crl());
    assert.equal(await plant.broker(plant.anchor("require", { crls })).outcome(), "accepted");
    // The authority between may be revoked as well.
    plant.files.set("root.crl", plant.crl({ issuer: plant.root, revoked: [plant.issuing] }));
    assert.match(await plant.broker(plant.anchor("soft", { crls })).outcome(), /its authority was revoked/);
  });

  it("is refused or, by policy, let in with a trace when it cannot be found out", async () => {
    const plant = await Plant.make();
    const stranger = await Plant.make();
    const old = { fromMs: startMs - 10 * dayMs };
    const rows: readonly (readonly [RegExp, () => void])[] = [
      [/ECONNREFUSED/, () => plant.answers.clear()],
      [/out of date/, () => plant.answers.set(urls.ocsp, plant.ocsp(good, old))],
      [
        /not for signing OCSP/,
        () => plant.answers.set(urls.ocsp, plant.ocsp(good, { signer: plant.device })),
      ],
      [
        /not from the authority/,
        () => plant.answers.set(urls.ocsp, plant.ocsp(good, { signer: stranger.responder })),
      ],
      [/replayed/, () => plant.answers.set(urls.ocsp, plant.ocsp(good, { nonce: "other" }))],
      [/does not know it/, () => plant.answers.set(urls.ocsp, plant.ocsp({ kind: "unknown" }))],
      [/cannot be read/, () => plant.answers.set(urls.ocsp, () => Buffer.from("<html>"))],
      [
        /the CRL .* out of date/,
        () => plant.answers.set(urls.crl, () => plant.crl({ fromMs: startMs - 3 * dayMs })),
      ],
      [
        /signature/,
        () =>
          plant.answers.set(urls.crl, () =>
            plant.crl({ issuer: { ...plant.issuing, key: stranger.issuing.key } }),
          ),
      ],
      [/another authority/, () => plant.answers.set(urls.crl, () => plant.crl({ issuer: plant.root }))],
    ];
    for (const [reason, arrange] of rows) {
      plant.answers.clear();
      arrange();
      const strict = plant.broker(plant.anchor("require"));
      const result = await strict.judge();
      assert.ok(result.kind === "refused" && !result.revoked, String(reason));
      assert.match(result.reason, reason);
      assert.equal(result.device, "press");
      const soft = plant.broker(plant.anchor("soft"));
      assert.equal(await soft.outcome(), "accepted");
      assert.equal(soft.undetermined.length, 1);
      assert.match(soft.undetermined[0] ?? "", reason);
    }
    plant.answers.clear();
    plant.answers.set(urls.ocsp, plant.ocsp(good, { nonce: "none" }));
    assert.equal(await plant.broker(plant.anchor("require")).outcome(), "accepted");
    assert.match(await plant.broker(plant.anchor("require", { nonceRequired: true })).outcome(), /no nonce/);
    // Without any source `require` says what is missing.
    const bare = await issueDevice({ tenant: "plant", device: "press", validity, issuer: plant.issuing });
    assert.match(
      await plant.broker(plant.anchor("require", { crls: [] })).outcome(bare),
      /names no CRL and no OCSP/,
    );
  });

  it("costs one question for all who come meanwhile, and none while the answer is young", async () => {
    const plant = await Plant.make();
    plant.answers.set(urls.ocsp, plant.ocsp(good));
    const { outcome } = plant.broker(plant.anchor("require"));
    assert.deepEqual(
      new Set(await Promise.all(Array.from({ length: 20 }, () => outcome()))),
      new Set(["accepted"]),
    );
    plant.pass(4 * minuteMs);
    await outcome();
    assert.deepEqual(plant.asked, [urls.ocsp]);
    plant.pass(2 * minuteMs);
    // The responder is down: what it said last holds for as long as it said.
    plant.answers.clear();
    assert.equal(await outcome(), "accepted");
    assert.equal(plant.asked.length, 2);
    for (let round = 0; round < 5; round += 1) await outcome();
    assert.equal(plant.asked.length, 2, "a responder that is down is not flooded");
    plant.pass(hourMs);
    assert.match(await outcome(), /ECONNREFUSED/);
  });

  it("is not let in by an older CRL than the one before, nor by a file that went bad", async () => {
    const plant = await Plant.make();
    const crls = [
      { kind: "file", path: "root.crl" },
      { kind: "url", url: "http://10.0.0.1/plant.crl", configured: true },
    ] as const;
    const older = plant.crl();
    plant.pass(minuteMs);
    plant.answers.set("http://10.0.0.1/plant.crl", () => plant.crl({ revoked: [plant.device] }));
    const bare = await issueDevice({ tenant: "plant", device: "press", validity, issuer: plant.issuing });
    const { outcome } = plant.broker(plant.anchor("require", { crls }));
    assert.equal(await outcome(bare), "accepted");
    const withRevoked = plant.broker(plant.anchor("require", { crls }));
    assert.match(await withRevoked.outcome(), /revoked/);
    plant.answers.set("http://10.0.0.1/plant.crl", () => older);
    plant.pass(11 * minuteMs);
    assert.match(await withRevoked.outcome(), /revoked/);
    plant.files.set("root.crl", Buffer.from("not a CRL any more"));
    assert.match(await withRevoked.outcome(), /revoked/);
  });

  it("is looked at again while it is connected", async () => {
    const plant = await Plant.make();
    plant.answers.set(urls.ocsp, plant.ocsp(good));
    const { outcome, authenticator, anchors } = plant.broker(plant.anchor("require"));
    const refused: string[] = [];
    const recheck = () =>
      authenticator.recheck((device, { reason, revoked: isRevoked }) =>
        refused.push(`${device} ${isRevoked} ${reason}`),
      );
    assert.equal(await outcome(), "accepted");
    await recheck();
    assert.deepEqual(refused, []);
    plant.answers.set(urls.ocsp, plant.ocsp(revoked));
    plant.pass(6 * minuteMs);
    await recheck();
    assert.equal(refused.length, 1);
    assert.match(refused[0] ?? "", /^press true .*revoked/);
    await recheck();
    assert.equal(refused.length, 1);
    plant.answers.set(urls.ocsp, plant.ocsp(good));
    plant.pass(6 * minuteMs);
    assert.equal(await outcome(), "accepted");
    anchors.current = [];
    await recheck();
    assert.match(refused[1] ?? "", /^press false .*not issued by/);
  });
});
