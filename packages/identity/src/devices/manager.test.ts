import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { describe, it, mock } from "node:test";

import { decodeCertificate, deviceOf } from "@postern/pki/certificate";
import { createRequest } from "@postern/pki/csr-create";
import { toPem } from "@postern/pki/pem";

import { CertificateAuthenticator } from "../authenticator.ts";
import { verifyPassword } from "../password/password-hash.ts";
import {
  DataDirectoryError,
  DeviceExistsError,
  DeviceRemovedError,
  DeviceRequestError,
  DeviceUnknownError,
} from "../errors.ts";
import { devicesFile } from "../installation.ts";
import { DeviceRegistry } from "../registry.ts";
import { startInstallation, temporaryDataDirectory } from "../testing.ts";
import { DeviceManager } from "./manager.ts";
import type { AddRequest, ListRequest, RotateRequest } from "./requests.ts";

const startMs = Date.UTC(2027, 0, 1);
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

async function prepare({ serves = true } = {}) {
  const temporary = temporaryDataDirectory();
  const { authority, registry } = await startInstallation(temporary.directory, { nowMs: startMs });
  const clock = { nowMs: startMs, wallMs: () => clock.nowMs, monotonicMs: () => 0 };
  const servers = [{ url: "mqtts://127.0.0.1:8883" }];
  const pskServers = [{ url: "mqtts://127.0.0.1:8882" }];
  let jti = 0;
  const manager = new DeviceManager({
    registry,
    authority: () => authority,
    servers: (proof) => (proof === "psk" ? pskServers : servers),
    serverCa: () => authority.rootPem,
    est: () => undefined,
    issueToken: async ({ name }, { nowMs, lifeSeconds }) => {
      jti += 1;
      const notAfter = new Date(nowMs + lifeSeconds * 1_000).toISOString();
      return { token: `${name}.${jti}`, jti: String(jti), notAfter };
    },
    clock,
    serves,
  });
  const authenticator = new CertificateAuthenticator({ registry, issuers: () => authority.issuers, clock });
  return {
    manager,
    registry,
    authority,
    clock,
    directory: temporary.directory,
    /** Whether the server lets the certificate in. */
    accepts(pem = ""): boolean {
      const certificate = decodeCertificate(pem)?.x509.raw;
      const peer = { certificate };
      return authenticator.authenticate({ peer }).kind === "accepted";
    },
    [Symbol.dispose]: () => {
      registry.close();
      temporary[Symbol.dispose]();
    },
  };
}

/** Nothing can be written as long as `work` lasts. */
async function onFullDisk(work: () => Promise<void> | void): Promise<void> {
  const write = mock.method(fs, "writeSync", () => {
    throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC", errno: -28 });
  });
  syncBuiltinESMExports();
  try {
    await work();
  } finally {
    write.mock.restore();
    syncBuiltinESMExports();
  }
}

function adding(name: string, changes: Partial<AddRequest> = {}): AddRequest {
  return {
    name,
    tenant: "default",
    auth: ["certificate"],
    roles: ["device"],
    groups: [],
    reuseName: false,
    ...changes,
  };
}

function rotating(name: string, changes: Partial<RotateRequest> = {}): RotateRequest {
  return { name, overlapSeconds: 86_400, reinstate: false, ...changes };
}

const everything: ListRequest = { roles: [], groups: [], auth: [], states: [] };

describe("device manager", () => {
  it("adds a device with a certificate that the server lets in, for 30 days", async () => {
    using t = await prepare();
    const { device, bundle } = await t.manager.add(adding("lamp", { groups: ["hall", "hall"] }));
    assert.deepEqual([device.roles, device.groups, device.auth], [["device"], ["hall"], ["certificate"]]);
    const certificate = decodeCertificate(bundle?.certificate ?? "") ?? assert.fail();
    assert.deepEqual(deviceOf(certificate), { tenant: "default", device: "lamp" });
    assert.equal(certificate.notAfterMs, startMs + 30 * dayMs);
    assert.ok(t.accepts(bundle?.certificate));
    assert.match(bundle?.key ?? "", /BEGIN PRIVATE KEY/);
    assert.deepEqual(bundle?.servers, [{ url: "mqtts://127.0.0.1:8883" }]);
  });

  it("gives what is asked for, and shows no secret", async () => {
    using t = await prepare();
    const { device, bundle } = await t.manager.add(adding("lamp", { auth: ["password", "token"] }));
    assert.deepEqual(device.auth, ["password", "token"]);
    assert.equal(bundle?.certificate, undefined);
    assert.ok((bundle?.password?.length ?? 0) >= 26);
    const meter = await t.manager.add(adding("meter", { auth: ["psk"] }));
    assert.deepEqual(meter.bundle?.servers, [{ url: "mqtts://127.0.0.1:8882" }]);
    assert.equal(Buffer.from(meter.bundle?.psk?.key ?? "", "base64").length, 32);
    await assert.rejects(
      t.manager.add(adding("both", { auth: ["psk", "password"] })),
      /use --auth psk alone/,
    );
    assert.equal(bundle?.token, "lamp.1");
    const registered = t.registry.find("lamp");
    assert.ok(await verifyPassword(registered?.password?.hash ?? "", Buffer.from(bundle?.password ?? "")));
    const shown = JSON.stringify([t.manager.list(everything), t.manager.show("lamp"), device, meter.device]);
    const secrets = [bundle?.password, meter.bundle?.psk?.key, bundle?.token, registered?.password?.hash];
    for (const secret of secrets) assert.ok(secret !== undefined && !shown.includes(secret));
  });

  it("takes a password that a person chose, unless it is short", async () => {
    using t = await prepare();
    const password = "correct horse battery";
    const { bundle } = await t.manager.add(adding("lamp", { auth: ["password"], password }));
    assert.equal(bundle?.password, password);
    await assert.rejects(
      t.manager.add(adding("door", { auth: ["password"], password: "hello" })),
      DeviceRequestError,
    );
    await assert.rejects(t.manager.add(adding("door", { password })), /add --auth password/);
    assert.equal(t.registry.find("door"), undefined);
  });

  it("certifies the key of a device that keeps it, and refuses a request for anything else", async () => {
    using t = await prepare();
    const key = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
    const csr = toPem("CERTIFICATE REQUEST", createRequest({ key, device: "lamp" }));
    const { bundle } = await t.manager.add(adding("lamp", { csr }));
    assert.equal(bundle?.key, undefined);
    assert.ok(decodeCertificate(bundle?.certificate ?? "")?.x509.checkPrivateKey(key));
    const refused: readonly (readonly [string, AddRequest])[] = [
      ["another's name", adding("door", { csr })],
      [
        "a key in use",
        adding("lamp2", { csr: toPem("CERTIFICATE REQUEST", createRequest({ key, device: "lamp2" })) }),
      ],
      ["no request", adding("door", { csr: "hello" })],
      ["another kind", adding("door", { csr, auth: ["psk"] })],
    ];
    for (const [what, request] of refused)
      await assert.rejects(t.manager.add(request), DeviceRequestError, what);
    assert.deepEqual(
      t.manager.list(everything).map(({ name }) => name),
      ["first-device", "lamp"],
    );
  });

  it("refuses a name that is taken, also by a request at the same time, and one of a removed device", async () => {
    using t = await prepare();
    const results = await Promise.allSettled([t.manager.add(adding("lamp")), t.manager.add(adding("lamp"))]);
    assert.deepEqual(results.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
    await assert.rejects(t.manager.add(adding("lamp")), DeviceExistsError);
    t.manager.remove({ name: "lamp" });
    await assert.rejects(t.manager.add(adding("lamp")), DeviceRemovedError);
    const { bundle } = await t.manager.add(adding("lamp", { reuseName: true, roles: [] }));
    assert.ok(t.accepts(bundle?.certificate));
    const { certificates, roles, knockKeyVersion } = t.manager.show("lamp");
    assert.deepEqual(
      certificates.map(({ state }) => state),
      ["revoked", "valid"],
    );
    assert.deepEqual([roles, knockKeyVersion], [[], 2]);
    assert.ok(t.registry.find("lamp")?.trustedAgain !== undefined, "enrolment tokens from before are over");
  });

  it("says what was probably meant", async () => {
    using t = await prepare();
    await t.manager.add(adding("press-7"));
    assert.throws(() => t.manager.show("pres-7"), /there is no device "pres-7": did you mean "press-7"\?/);
    assert.throws(() => t.manager.show("zzz"), DeviceUnknownError);
  });

  it("changes roles and groups, and says when nothing changed", async () => {
    using t = await prepare();
    await t.manager.add(adding("lamp"));
    const none = { addRoles: [], removeRoles: [], addGroups: [], removeGroups: [] };
    const set = t.manager.set({ name: "lamp", ...none, addRoles: ["observer"], groups: ["hall"] });
    assert.deepEqual(
      [set.device.roles, set.device.groups, set.changed],
      [["device", "observer"], ["hall"], true],
    );
    assert.equal(t.manager.set({ name: "lamp", ...none, addRoles: ["observer"] }).changed, false);
    const less = t.manager.set({ name: "lamp", ...none, removeRoles: ["device", "nobody"], groups: [] });
    assert.deepEqual([less.device.roles, less.device.groups], [["observer"], []]);
  });

  it("lists by name, role, group, proof, state and end", async () => {
    using t = await prepare();
    await t.manager.add(adding("press-1", { groups: ["hall"] }));
    await t.manager.add(adding("press-2", { roles: ["observer"], days: 5 }));
    await t.manager.add(adding("meter.1", { auth: ["password"] }));
    await t.manager.add(adding("gone"));
    t.manager.remove({ name: "gone" });
    t.manager.revoke({ name: "press-1", reason: "unspecified" });
    const names = (changes: Partial<ListRequest>) =>
      t.manager.list({ ...everything, ...changes }).map(({ name }) => name);
    assert.deepEqual(names({}), ["first-device", "meter.1", "press-1", "press-2"]);
    assert.deepEqual(names({ pattern: "press-*" }), ["press-1", "press-2"]);
    assert.deepEqual(names({ pattern: "*e*r.1" }), ["meter.1"]);
    assert.deepEqual(names({ pattern: "meter*1*" }), ["meter.1"]);
    assert.deepEqual(names({ pattern: "meter-1" }), []);
    assert.deepEqual(names({ pattern: "meter.1x" }), []);
    assert.deepEqual(names({ pattern: "*".repeat(256) }), names({}));
    assert.deepEqual(names({ pattern: "(a+)+$" }), []);
    assert.deepEqual(names({ roles: ["observer"] }), ["press-2"]);
    assert.deepEqual(names({ groups: ["hall"] }), ["press-1"]);
    assert.deepEqual(names({ auth: ["password"] }), ["meter.1"]);
    assert.deepEqual(names({ states: ["revoked", "removed"] }), ["gone", "press-1"]);
    assert.deepEqual(names({ endsWithinDays: 7 }), ["press-2"]);
  });

  it("rotates: the old certificate stays good for the overlap, the new one beyond", async () => {
    using t = await prepare();
    const first = await t.manager.add(adding("lamp"));
    t.clock.nowMs += dayMs;
    const second = await t.manager.rotate(rotating("lamp"));
    assert.ok(t.accepts(first.bundle?.certificate) && t.accepts(second.bundle?.certificate));
    // Another rotation does not make it good for longer.
    t.clock.nowMs += hourMs;
    const third = await t.manager.rotate(rotating("lamp"));
    t.clock.nowMs += 23 * hourMs;
    assert.ok(!t.accepts(first.bundle?.certificate) && t.accepts(second.bundle?.certificate));
    t.clock.nowMs += hourMs;
    assert.ok(!t.accepts(second.bundle?.certificate) && t.accepts(third.bundle?.certificate));
  });

  it("rotates at once: the old certificate is revoked, and other kinds of proof are left alone", async () => {
    using t = await prepare();
    const first = await t.manager.add(adding("lamp", { auth: ["certificate", "password"] }));
    const hash = t.registry.find("lamp")?.password?.hash;
    const second = await t.manager.rotate(rotating("lamp", { overlapSeconds: 0, auth: ["certificate"] }));
    assert.ok(!t.accepts(first.bundle?.certificate) && t.accepts(second.bundle?.certificate));
    assert.equal(second.bundle?.password, undefined);
    assert.equal(t.registry.find("lamp")?.password?.hash, hash);
    assert.equal(second.device.certificates[0]?.revoked?.reason, "superseded");
    await t.manager.rotate(rotating("lamp"));
    assert.notEqual(t.registry.find("lamp")?.password?.hash, hash);
  });

  it("replaces the knock key when nothing of the old bundle is to stay good, and not before", async () => {
    using t = await prepare();
    const keyOf = (name: string): number => t.manager.show(name).knockKeyVersion;
    await t.manager.add(adding("lamp"));
    await t.manager.add(adding("meter", { auth: ["password"] }));
    // The old bundle still lets the device in, and so must still open the door.
    await t.manager.rotate(rotating("lamp"));
    assert.equal(keyOf("lamp"), 1);
    await t.manager.rotate(rotating("lamp", { overlapSeconds: 0 }));
    assert.equal(keyOf("lamp"), 2);
    t.manager.revoke({ name: "lamp", reason: "keyCompromise" });
    await t.manager.rotate(rotating("lamp", { reinstate: true }));
    assert.equal(keyOf("lamp"), 3);
    await t.manager.rotate(rotating("meter"));
    assert.equal(keyOf("meter"), 2);
  });

  it("revokes for good: only new credentials let the device in again, and only when that is said", async () => {
    using t = await prepare();
    const first = await t.manager.add(adding("lamp", { auth: ["certificate", "token"] }));
    assert.ok(t.manager.revoke({ name: "lamp", reason: "keyCompromise" }).changed);
    assert.ok(!t.manager.revoke({ name: "lamp", reason: "unspecified" }).changed);
    assert.equal(t.manager.show("lamp").revoked?.reason, "keyCompromise");
    assert.deepEqual(t.manager.show("lamp").auth, []);
    assert.ok(!t.accepts(first.bundle?.certificate));
    await assert.rejects(t.manager.rotate(rotating("lamp")), /add --reinstate/);
    const back = await t.manager.rotate(rotating("lamp", { reinstate: true, auth: ["certificate"] }));
    assert.ok(!t.accepts(first.bundle?.certificate) && t.accepts(back.bundle?.certificate));
    assert.deepEqual([back.device.state, back.device.auth], ["active", ["certificate"]]);
    assert.ok(t.registry.find("lamp")?.trustedAgain !== undefined);
    t.manager.revoke({ name: "lamp", reason: "unspecified" });
    const again = await t.manager.rotate(rotating("lamp", { reinstate: true }));
    assert.deepEqual(again.device.auth, ["certificate", "token"]);
  });

  it("revokes one certificate or token, and the device goes on with the others", async () => {
    using t = await prepare();
    const first = await t.manager.add(adding("lamp", { auth: ["certificate", "token"] }));
    const second = await t.manager.rotate(rotating("lamp", { auth: ["certificate"] }));
    const { serialNumber = "", fingerprint = "" } = first.device.certificates[0] ?? {};
    const reason = "superseded";
    assert.throws(
      () => t.manager.revoke({ name: "lamp", reason, certificate: "0000" }),
      /no certificate of "lamp" has a serial number or fingerprint that begins with 0000/,
    );
    assert.ok(
      t.manager.revoke({ name: "lamp", reason, certificate: serialNumber.slice(0, 12).toLowerCase() })
        .changed,
    );
    assert.ok(!t.manager.revoke({ name: "lamp", reason, certificate: fingerprint }).changed);
    assert.ok(!t.accepts(first.bundle?.certificate) && t.accepts(second.bundle?.certificate));
    assert.throws(() => t.manager.revoke({ name: "lamp", reason, token: "7" }), /has no token "7"/);
    assert.equal(t.manager.revoke({ name: "lamp", reason, token: "1" }).device.tokens[0]?.state, "revoked");
    assert.equal(t.manager.show("lamp").state, "active");
  });

  it("removes: nothing of the device is good any more, and its secrets are gone from the registry", async () => {
    using t = await prepare();
    const { bundle } = await t.manager.add(adding("lamp", { auth: ["certificate", "password"] }));
    await t.manager.rotate(rotating("lamp", { auth: ["psk"] }));
    assert.deepEqual(t.manager.show("lamp").auth, ["certificate", "password", "psk"]);
    assert.ok(t.manager.remove({ name: "lamp" }).changed);
    assert.ok(!t.manager.remove({ name: "lamp" }).changed);
    assert.ok(!t.accepts(bundle?.certificate));
    const device = t.registry.find("lamp");
    assert.deepEqual([device?.password, device?.psk], [undefined, undefined]);
    for (const work of [
      () => t.manager.revoke({ name: "lamp", reason: "unspecified" }),
      () => t.manager.set({ name: "lamp", addRoles: [], removeRoles: [], addGroups: [], removeGroups: [] }),
    ])
      assert.throws(work, DeviceRemovedError);
    await assert.rejects(t.manager.rotate(rotating("lamp", { reinstate: true })), DeviceRemovedError);
  });

  it("gives nothing to a device that is revoked or removed while its key is made", async () => {
    using t = await prepare();
    await t.manager.add(adding("lamp"));
    const rotation = t.manager.rotate(rotating("lamp"));
    t.manager.revoke({ name: "lamp", reason: "keyCompromise" });
    await assert.rejects(rotation, /was revoked/);
    assert.equal(t.registry.find("lamp")?.certificates.length, 1);
  });

  it("trusts a device no more that is revoked or removed while the disk is full, and writes it down when there is room", async () => {
    using t = await prepare();
    const { manager } = t;
    const [lamp, door] = [await manager.add(adding("lamp")), await manager.add(adding("door"))];
    const revoke = () => manager.revoke({ name: "lamp", reason: "keyCompromise" });
    const changed: string[] = [];
    t.registry.onChange((changes) => changed.push(...changes.map(({ after }) => after.name)));
    const onDisk = () => {
      using registry = new DeviceRegistry(devicesFile(t.directory.pki), { readOnly: true });
      return ["lamp", "door"]
        .map((name) => registry.find(name))
        .map((device) => device?.revoked ?? device?.removed);
    };
    await onFullDisk(async () => {
      for (const work of [revoke, revoke, () => manager.remove({ name: "door" })])
        assert.throws(work, (thrown) => {
          assert.ok(thrown instanceof DataDirectoryError);
          assert.match(
            thrown.message,
            /^what was taken from .* not on disk: .* disk is full; .* do not stop the server/,
          );
          return true;
        });
      await assert.rejects(manager.add(adding("bell")), /disk is full/);
      assert.ok(!t.accepts(lamp.bundle?.certificate) && !t.accepts(door.bundle?.certificate));
      assert.deepEqual([...new Set(changed)], ["lamp", "door"]);
      assert.deepEqual(onDisk(), [undefined, undefined]);
    });
    assert.ok(revoke().changed, "said again, it is written");
    assert.ok(!revoke().changed);
    assert.ok(
      onDisk().every((end) => end !== undefined),
      "and what else was not",
    );
  });

  it("says of nothing that it is revoked when the disk is full and no server runs", async () => {
    using t = await prepare({ serves: false });
    const { bundle } = await t.manager.add(adding("lamp"));
    await onFullDisk(() => {
      assert.throws(
        () => t.manager.revoke({ name: "lamp", reason: "unspecified" }),
        /^DataDirectoryError: cannot write/,
      );
    });
    assert.ok(t.accepts(bundle?.certificate));
  });
});
