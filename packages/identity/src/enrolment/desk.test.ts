import assert from "node:assert/strict";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";

import { fromPem } from "@postern/pki/pem";
import { decodeCertificate, deviceOf, type Certificate } from "@postern/pki/certificate";
import { createRequest, type NewRequest } from "@postern/pki/csr-create";
import { issueDevice, issueIntermediate, issueRoot } from "@postern/pki/issue";

import { newDevice } from "../device.ts";
import { EnrolmentError } from "../errors.ts";
import { startInstallation, temporaryDataDirectory, type StartedInstallation } from "../testing.ts";
import { EnrolmentDesk, type EnrolmentPolicy, type EnrolmentResult } from "./desk.ts";
import { EnrolmentClaims, type NewClaim } from "./claims.ts";
import { EnrolmentTokens, type NewToken } from "./tokens.ts";

const startMs = Date.UTC(2027, 0, 1);
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const policy: EnrolmentPolicy = { certificateDays: 30, renewalGraceDays: 7, sameKey: false };

function newKey(): KeyObject {
  return generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
}

function request(changes: Partial<NewRequest> = {}): { request: Uint8Array; from: string } {
  return { request: createRequest({ key: newKey(), device: "lamp", ...changes }), from: "192.0.2.1" };
}

function issued(result: EnrolmentResult): Certificate {
  if (result.kind === "refused") assert.fail(`${result.reason}: ${result.detail}`);
  return result.certificate;
}

function reason(result: EnrolmentResult): string {
  assert.ok(result.kind === "refused", "it was issued");
  return `${result.reason}: ${result.detail}`;
}

describe("enrolment desk", () => {
  let place: ReturnType<typeof temporaryDataDirectory>;
  let installation: StartedInstallation;
  let tokens: EnrolmentTokens;
  let claims: EnrolmentClaims;
  let nowMs: number;

  beforeEach(async () => {
    nowMs = startMs;
    place = temporaryDataDirectory();
    installation = await startInstallation(place.directory);
    tokens = new EnrolmentTokens(join(place.directory.pki, "enrolments.jsonl"));
    claims = new EnrolmentClaims(join(place.directory.pki, "claims.jsonl"));
  });
  afterEach(() => {
    tokens.close();
    claims.close();
    installation.registry.close();
    place[Symbol.dispose]();
  });

  function open(changes: Partial<EnrolmentPolicy> = {}): EnrolmentDesk {
    return new EnrolmentDesk({
      registry: installation.registry,
      tokens,
      claims,
      authority: () => installation.authority,
      policy: { ...policy, ...changes },
      clock: { wallMs: () => nowMs, monotonicMs: () => 0 },
    });
  }

  function token(changes: Partial<NewToken> = {}): { device: string; secret: string } {
    const { secret } = tokens.create({ device: "lamp", tenant: "default", ...changes }, nowMs);
    return { device: "lamp", secret };
  }

  function certificates(name = "lamp") {
    return installation.registry.find(name)?.certificates ?? [];
  }

  async function enrolled(desk: EnrolmentDesk): Promise<Certificate> {
    return issued(await desk.enrol(request(), token()));
  }

  it("gives a device its first certificate for a token, with the roles and groups of the token", async () => {
    const proof = token({ roles: ["device"], groups: ["hall"] });
    const certificate = issued(await open().enrol(request(), proof));
    assert.deepEqual(deviceOf(certificate), { tenant: "default", device: "lamp" });
    assert.equal(certificate.notAfterMs, startMs + 30 * dayMs);
    const device = installation.registry.find("lamp");
    assert.deepEqual([device?.roles, device?.groups], [["device"], ["hall"]]);
    assert.equal(installation.registry.findByFingerprint(certificate.fingerprint)?.device, device);
  });

  it("takes a token once, also of several requests at the same time", async () => {
    const desk = open();
    const proof = token();
    const results = await Promise.all(Array.from({ length: 5 }, () => desk.enrol(request(), proof)));
    assert.equal(results.filter(({ kind }) => kind === "issued").length, 1);
    assert.equal(certificates().length, 1);
    assert.match(reason(await desk.enrol(request(), proof)), /^token: .* was used at 2027-01-01/);
  });

  it("refuses a token from before its device was revoked or removed, also when the device is trusted again", async () => {
    const desk = open();
    const [early, late] = [token(), token()];
    await enrolled(desk);
    nowMs += 1_000;
    installation.registry.change("lamp", (device) => ({
      ...device,
      trustedAgain: new Date(nowMs).toISOString(),
    }));
    assert.match(reason(await desk.enrol(request(), early)), /^token: .*from before "lamp" was revoked/);
    assert.match(reason(await desk.enrol(request(), late)), /^token: .*from before/);
    issued(await desk.enrol(request(), token()));
  });

  it("refuses a token that is unknown, cancelled, over or another device's, and uses none up by that", async () => {
    const desk = open();
    const proof = token();
    assert.match(
      reason(await desk.enrol(request(), { ...proof, secret: "pet_guess" })),
      /^token: there is no such/,
    );
    assert.match(
      reason(await desk.enrol(request({ device: "door" }), { ...proof, device: "door" })),
      /^token: .*another device's/,
    );
    const cancelled = token();
    tokens.cancel(tokens.list()[0]?.id ?? "", nowMs);
    assert.match(reason(await desk.enrol(request(), cancelled)), /^token: .*cancelled/);
    issued(await desk.enrol(request(), proof));
    const late = token();
    nowMs += hourMs;
    assert.match(reason(await desk.enrol(request(), late)), /^token: .*ran out/);
  });

  it("refuses a request for anything but this device, and leaves the token for a right one", async () => {
    const desk = open();
    const proof = token();
    assert.match(reason(await desk.enrol(request({ device: "door" }), proof)), /^name: /);
    assert.match(reason(await desk.enrol(request({ tenant: "other" }), proof)), /^name: /);
    assert.match(reason(await desk.enrol({ request: Buffer.from("x"), from: "" }, proof)), /^malformed: /);
    assert.match(
      reason(await desk.enrol({ ...request({ challengePassword: "a" }), channelBindings: ["b"] }, proof)),
      /^channel: /,
    );
    assert.equal(installation.registry.find("lamp"), undefined);
    issued(await desk.enrol({ ...request({ challengePassword: "b" }), channelBindings: ["a", "b"] }, proof));
  });

  it("refuses a key that another device has, or that this one had", async () => {
    const desk = open();
    const key = newKey();
    issued(await desk.enrol(request({ key }), token()));
    assert.match(reason(await desk.enrol(request({ key }), token())), /^key-in-use: .*had before/);
    const door = tokens.create({ device: "door", tenant: "default" }, nowMs);
    const proof = { device: "door", secret: door.secret };
    assert.match(
      reason(await desk.enrol(request({ key, device: "door" }), proof)),
      /^key-in-use: .*another device/,
    );
    const twins = newKey();
    const gate = {
      device: "gate",
      secret: tokens.create({ device: "gate", tenant: "default" }, nowMs).secret,
    };
    const both = await Promise.all([
      desk.enrol(request({ key: twins, device: "door" }), proof),
      desk.enrol(request({ key: twins, device: "gate" }), gate),
    ]);
    assert.deepEqual(both.map(({ kind }) => kind).sort(), ["issued", "refused"]);
  });

  it("adds to a device that is there, and keeps its roles", async () => {
    installation.registry.put(newDevice({ name: "lamp", tenant: "plant", roles: ["observer"] }, nowMs));
    const certificate = issued(
      await open().enrol(request({ tenant: "plant" }), token({ roles: ["administrator"] })),
    );
    assert.deepEqual(deviceOf(certificate), { tenant: "plant", device: "lamp" });
    assert.deepEqual(installation.registry.find("lamp")?.roles, ["observer"]);
  });

  it("gives nothing to a device that was removed or revoked", async () => {
    const desk = open();
    const certificate = await enrolled(desk);
    const proof = token();
    const at = new Date(nowMs).toISOString();
    installation.registry.change("lamp", (device) => ({
      ...device,
      revoked: { at, reason: "keyCompromise" },
    }));
    assert.match(reason(await desk.enrol(request(), proof)), /^device: .*revoked/);
    assert.match(reason(await desk.renew(request(), certificate.x509.raw)), /^device: .*revoked/);
    installation.registry.change("lamp", (device) => ({ ...device, revoked: undefined, removed: at }));
    assert.match(reason(await desk.enrol(request(), proof)), /^device: .*removed/);
    assert.match(reason(await desk.renew(request(), certificate.x509.raw)), /^device: .*removed/);
  });

  it("renews for a certificate of the same device, and both are good until the old one ends", async () => {
    const desk = open();
    const old = await enrolled(desk);
    nowMs += 20 * dayMs;
    const renewed = issued(await desk.renew(request({ tenant: "default" }), old.x509.raw));
    assert.equal(renewed.notAfterMs, nowMs + 30 * dayMs);
    assert.deepEqual(
      certificates().map(({ fingerprint, revoked }) => [fingerprint, revoked]),
      [old, renewed].map(({ fingerprint }) => [fingerprint, undefined]),
    );
  });

  it("renews for nobody else", async () => {
    const desk = open();
    const old = await enrolled(desk);
    assert.match(reason(await desk.renew(request({ device: "door" }), old.x509.raw)), /^name: /);
    const validity = { notBeforeMs: nowMs - hourMs, notAfterMs: nowMs + dayMs };
    const root = await issueRoot({ commonName: "root", validity });
    const foreignIssuer = await issueIntermediate({ commonName: "issuing", validity, issuer: root });
    // Another authority's, and one of ours that was never registered (its serial number does not matter).
    for (const issuer of [foreignIssuer, installation.authority.issuer]) {
      const { certificate } = await issueDevice({ tenant: "default", device: "lamp", validity, issuer });
      const [der = Buffer.alloc(0)] = fromPem("CERTIFICATE", certificate);
      assert.match(reason(await desk.renew(request(), der)), /^certificate: no device/);
    }
    assert.match(
      reason(await desk.renew(request(), installation.server.certificate.x509.raw)),
      /^certificate: no device/,
    );
    assert.match(reason(await desk.renew(request(), Buffer.from("3000", "hex"))), /^certificate: no device/);
  });

  it("refuses to renew for a certificate that was revoked or that was replaced", async () => {
    const desk = open();
    const old = await enrolled(desk);
    const revoked = { at: new Date(nowMs).toISOString(), reason: "keyCompromise" } as const;
    installation.registry.change("lamp", (device) => ({
      ...device,
      certificates: device.certificates.map((entry) => ({ ...entry, revoked })),
    }));
    assert.match(reason(await desk.renew(request(), old.x509.raw)), /^certificate: .*revoked/);
    installation.registry.change("lamp", (device) => ({
      ...device,
      certificates: device.certificates.map((entry) => ({
        ...entry,
        revoked: undefined,
        ends: revoked.at,
      })),
    }));
    assert.match(reason(await desk.renew(request(), old.x509.raw)), /^certificate: .*replaced/);
  });

  it("renews for an expired certificate as long as the policy says", async () => {
    const old = await enrolled(open());
    nowMs = old.notAfterMs + 7 * dayMs + 1;
    assert.match(reason(await open().renew(request(), old.x509.raw)), /^certificate: .*too long ago/);
    nowMs -= 1;
    assert.match(
      reason(await open({ renewalGraceDays: 0 }).renew(request(), old.x509.raw)),
      /^certificate: /,
    );
    issued(await open().renew(request(), old.x509.raw));
  });

  it("wants a new key at each renewal unless the policy says otherwise, which never means a revoked one", async () => {
    const key = newKey();
    const old = issued(await open().enrol(request({ key }), token()));
    assert.match(reason(await open().renew(request({ key }), old.x509.raw)), /^key-in-use: /);
    const renewed = issued(await open({ sameKey: true }).renew(request({ key }), old.x509.raw));
    const revoked = { at: new Date(nowMs).toISOString(), reason: "keyCompromise" } as const;
    const next = issued(await open().renew(request(), old.x509.raw));
    installation.registry.change("lamp", (device) => ({
      ...device,
      certificates: device.certificates.map((entry) =>
        entry.fingerprint === next.fingerprint ? entry : { ...entry, revoked },
      ),
    }));
    assert.match(
      reason(await open({ sameKey: true }).renew(request({ key }), next.x509.raw)),
      /^key-in-use: /,
    );
    assert.notEqual(renewed.fingerprint, old.fingerprint);
  });

  it("keeps at most four certificates of a device good, the one that proved it among them", async () => {
    const desk = open();
    const first = await enrolled(desk);
    for (let count = 0; count < 6; count += 1) {
      nowMs += hourMs;
      issued(await desk.renew(request(), first.x509.raw));
    }
    const good = certificates().filter(({ revoked }) => revoked === undefined);
    assert.equal(good.length, 4);
    assert.equal(good[0]?.fingerprint, first.fingerprint);
  });

  it("renews a device at most twelve times an hour", async () => {
    const desk = open();
    const first = await enrolled(desk);
    for (let count = 0; count < 12; count += 1) issued(await desk.renew(request(), first.x509.raw));
    assert.match(reason(await desk.renew(request(), first.x509.raw)), /^rate: /);
    nowMs += hourMs;
    issued(await desk.renew(request(), first.x509.raw));
  });

  it("gives nothing when the clock of a certificate was made to lie: it is not valid yet", async () => {
    const certificate = await enrolled(open());
    nowMs = certificate.notBeforeMs - 1;
    assert.match(
      reason(await open().renew(request(), certificate.x509.raw)),
      /^certificate: .*valid only from/,
    );
    assert.equal(decodeCertificate(certificate.x509.raw)?.fingerprint, certificate.fingerprint);
  });

  async function claim(changes: Partial<NewClaim> = {}): Promise<Uint8Array> {
    const wanted = {
      name: "line-a",
      tenant: "default",
      prefix: "press-",
      roles: ["device"],
      groups: ["hall"],
      devicesMax: 3,
      lifeMs: dayMs,
      ...changes,
    };
    const made = await claims.create(wanted, installation.authority, nowMs);
    return fromPem("CERTIFICATE", made.certificate)[0] ?? Buffer.alloc(0);
  }

  it("makes new devices for a claim, as many as it may and of the names it may, with its roles", async () => {
    const desk = open();
    const der = await claim();
    for (const device of ["press-1", "press-2"]) issued(await desk.claim(request({ device }), der));
    const device = installation.registry.find("press-1");
    assert.deepEqual([device?.roles, device?.groups], [["device"], ["hall"]]);
    assert.match(reason(await desk.claim(request({ device: "door" }), der)), /^claim: .*begin with "press-"/);
    assert.match(reason(await desk.claim(request({ device: "press-1" }), der)), /^claim: .*already/);
    const both = ["press-3", "press-4"].map((name) => desk.claim(request({ device: name }), der));
    const twice = ["press-5", "press-5"].map((name) => desk.claim(request({ device: name }), der));
    const results = await Promise.all([...both, ...twice]);
    assert.deepEqual(results.map(({ kind }) => kind).sort(), ["issued", "refused", "refused", "refused"]);
    assert.match(
      reason(await desk.claim(request({ device: "press-6" }), der)),
      /^claim: .*all of its 3 devices/,
    );
  });

  it("lets a claim give no device that is there another certificate, removed or not", async () => {
    const desk = open();
    const der = await claim();
    installation.registry.put({
      ...newDevice({ name: "press-1", tenant: "default" }, nowMs),
      removed: new Date(nowMs).toISOString(),
    });
    assert.match(reason(await desk.claim(request({ device: "press-1" }), der)), /^claim: .*already/);
    assert.equal(claims.find("line-a")?.devices, 0);
  });

  it("takes the certificate of a claim for that alone, until it ends", async () => {
    const desk = open();
    const der = await claim();
    assert.match(reason(await desk.renew(request({ device: "press-1" }), der)), /^certificate: no device/);
    assert.equal(desk.holderOf(der), undefined);
    assert.equal(deviceOf(decodeCertificate(der) ?? assert.fail()), undefined);
    const lamp = await enrolled(desk);
    assert.match(
      reason(await desk.claim(request({ device: "press-1" }), lamp.x509.raw)),
      /^certificate: .*no claim/,
    );
    claims.revoke("line-a", nowMs);
    assert.match(reason(await desk.claim(request({ device: "press-1" }), der)), /^claim: .*revoked/);
    const other = await claim({ name: "line-b" });
    nowMs += dayMs;
    assert.match(reason(await desk.claim(request({ device: "press-1" }), other)), /^claim: .*ran out/);
  });

  it("remembers claims and what they made, and refuses those that cannot be", async () => {
    const desk = open();
    const der = await claim();
    issued(await desk.claim(request({ device: "press-1" }), der));
    claims.revoke("line-a", nowMs);
    using read = new EnrolmentClaims(join(place.directory.pki, "claims.jsonl"));
    assert.deepEqual(read.list(), claims.list());
    assert.equal(read.find("line-a")?.devices, 1);
    for (const wrong of [
      { name: "line-a" },
      { name: "a b" },
      { prefix: "" },
      { roles: ["#"] },
      { devicesMax: 0 },
      { devicesMax: 1.5 },
      { lifeMs: 0 },
      { lifeMs: 91 * dayMs },
    ])
      await assert.rejects(claim({ name: "new", ...wrong }), EnrolmentError, JSON.stringify(wrong));
  });
});
