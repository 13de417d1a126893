import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import * as fc from "fast-check";

import { decodeCertificate, deviceOf } from "./certificate.ts";
import { createRequest } from "./csr-create.ts";
import { judgeRequest, type Applicant } from "./csr-policy.ts";
import { decodeRequest, requestBytesMax, type CertificateRequest, type CsrRefusal } from "./csr.ts";
import {
  bitString,
  boolean,
  element,
  explicit,
  integer,
  objectIdentifier,
  octetString,
  sequence,
  setOf,
} from "./der/writer.ts";
import { issueDeviceFor, issueRoot } from "./issue.ts";
import { toPem } from "./pem.ts";
import { keyIdOf } from "./public-key.ts";

const opensslMissing = spawnSync("openssl", ["version"]).status === 0 ? false : "openssl is not installed";

const applicant: Applicant = { tenant: "default", device: "boiler-7" };
const ours = "URI:urn:iot:default:boiler-7";
const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });

function accepted(input: Uint8Array | string): CertificateRequest {
  const decoded = decodeRequest(input);
  if (decoded.kind === "refused") assert.fail(`${decoded.reason}: ${decoded.detail}`);
  return decoded.request;
}

/** The reason against a request, from reading it or from our policy; `undefined` when it is granted. */
function refusal(input: Uint8Array | string, by: Applicant = applicant): CsrRefusal | undefined {
  const decoded = decodeRequest(input);
  return decoded.kind === "refused" ? decoded.reason : judgeRequest(decoded.request, by)?.reason;
}

/** A request of any shape, rightly signed. */
function crafted(parts: {
  readonly version?: number;
  readonly attributes?: readonly Uint8Array[];
  readonly spki?: Uint8Array;
  readonly algorithm?: string;
}): Buffer {
  const spki = parts.spki ?? createPublicKey(privateKey).export({ format: "der", type: "spki" });
  const info = sequence(
    integer(parts.version ?? 0),
    sequence(),
    spki,
    explicit(0, ...(parts.attributes ?? [])),
  );
  const algorithm = sequence(objectIdentifier(parts.algorithm ?? "1.2.840.10045.4.3.2"));
  return sequence(info, algorithm, bitString(sign("sha256", info, privateKey)));
}

function extensionRequest(...extensions: readonly Uint8Array[]): Buffer {
  return sequence(objectIdentifier("1.2.840.113549.1.9.14"), setOf(sequence(...extensions)));
}

function extension(oid: string, value: Uint8Array): Buffer {
  return sequence(objectIdentifier(oid), octetString(value));
}

/** Options of `openssl genpkey`. */
function ec(curve: string): string[] {
  return ["-algorithm", "EC", "-pkeyopt", `ec_paramgen_curve:${curve}`];
}

const p256 = ec("P-256");

/** Options of `openssl req` that ask for extensions. */
function extended(...lines: readonly string[]): string[] {
  return lines.flatMap((line) => ["-addext", line]);
}

describe("certification requests of openssl", { skip: opensslMissing }, () => {
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "postern-csr-"));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  function request(
    key: readonly string[],
    options: readonly string[] = [],
    subject: string | false = "/CN=boiler-7",
  ): Buffer {
    const [keyFile, output] = [join(directory, `${key.join("")}.pem`), join(directory, "out.csr")];
    if (!existsSync(keyFile))
      execFileSync("openssl", ["genpkey", "-out", keyFile, ...key], { stdio: "pipe" });
    const names = subject === false ? [] : ["-subj", subject];
    const args = ["req", "-new", "-key", keyFile, ...names, "-outform", "DER", "-out", output];
    execFileSync("openssl", [...args, ...options], { stdio: "pipe" });
    return readFileSync(output);
  }

  it("are read and granted with each kind of key and digest we know, as DER and as PEM", () => {
    for (const [key, options, type] of [
      [p256, [], "P-256"],
      [p256, ["-sha512"], "P-256"],
      [ec("P-384"), ["-sha384"], "P-384"],
      [["-algorithm", "ED25519"], [], "Ed25519"],
    ] as const) {
      const der = request(key, options);
      const pem = toPem("CERTIFICATE REQUEST", der);
      for (const input of [der, pem, Buffer.from(pem), pem.replaceAll("CERTIFICATE", "NEW CERTIFICATE")]) {
        const { publicKey, commonNames } = accepted(input);
        assert.equal(publicKey.type, type);
        assert.deepEqual(commonNames, ["boiler-7"]);
        assert.equal(refusal(input), undefined);
      }
    }
  });

  it("are granted with what a device is given anyway, and with parts of the subject that nobody copies", () => {
    for (const options of [
      extended(`subjectAltName=${ours}`, "basicConstraints=critical,CA:FALSE"),
      extended(
        "extendedKeyUsage=clientAuth",
        "keyUsage=digitalSignature,keyEncipherment",
        "subjectKeyIdentifier=hash",
      ),
    ])
      assert.equal(refusal(request(p256, options)), undefined, options.join(" "));
    assert.equal(refusal(request(p256, [], "/C=IT/O=Plant/CN=boiler-7")), undefined);
    assert.equal(refusal(request(p256, [], "/")), undefined);
  });

  it("are refused with the reason for what they ask", () => {
    const table: readonly (readonly [reason: CsrRefusal, options: readonly string[], subject?: string])[] = [
      ["authority", extended("basicConstraints=CA:TRUE")],
      ["authority", extended("basicConstraints=critical,CA:TRUE,pathlen:0")],
      ["authority", extended("keyUsage=keyCertSign")],
      ["authority", extended("keyUsage=digitalSignature,cRLSign")],
      ["name", extended(`subjectAltName=${ours},DNS:broker.example`)],
      ["name", extended("subjectAltName=DNS:boiler-7")],
      ["name", extended("subjectAltName=IP:127.0.0.1")],
      ["name", extended("subjectAltName=email:a@b.example")],
      ["name", extended("subjectAltName=URI:urn:iot:other:boiler-7")],
      ["name", extended("subjectAltName=URI:urn:iot:default:boiler-8")],
      ["name", extended(`subjectAltName=${ours},URI:urn:iot:default:boiler-8`)],
      ["name", extended("subjectAltName=otherName:1.2.3.4;UTF8:boiler-7")],
      ["name", [], "/CN=boiler-8"],
      ["name", [], "/CN=boiler-7/CN=boiler-8"],
      ["name", [], "/CN=boiler-7\\0"],
      ["usage", extended("extendedKeyUsage=serverAuth")],
      ["usage", extended("extendedKeyUsage=clientAuth,OCSPSigning")],
      ["usage", extended("extendedKeyUsage=anyExtendedKeyUsage")],
      ["attribute", extended("nameConstraints=permitted;URI:example.org")],
      ["attribute", extended("certificatePolicies=1.2.3.4")],
      ["attribute", extended("1.2.3.4.5=DER:0500")],
      ["attribute", extended("tlsfeature=status_request")],
      ["signature", ["-sha1"]],
      ["signature", ["-sha224"]],
    ];
    for (const [reason, options, subject] of table)
      assert.equal(refusal(request(p256, options, subject)), reason, [...options, subject].join(" "));
  });

  it("are refused for a key that is weak or that we do not certify", () => {
    for (const key of [
      ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
      ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
      ec("P-192"),
      ec("P-224"),
      ec("secp256k1"),
      [...p256, "-pkeyopt", "ec_param_enc:explicit"],
      ["-algorithm", "ED448"],
    ])
      assert.equal(refusal(request(key)), "key", key.join(" "));
  });

  it("may carry a challenge password only if it binds them to the connection (RFC 7030 §3.5)", () => {
    const config = join(directory, "challenge.cnf");
    writeFileSync(
      config,
      "[req]\ndistinguished_name=dn\nattributes=attrs\nprompt=no\n[dn]\nCN=boiler-7\n[attrs]\nchallengePassword=b25lIGNoYW5uZWw=\n",
    );
    const der = request(p256, ["-config", config], false);
    assert.equal(refusal(der, { ...applicant, channelBindings: ["b25lIGNoYW5uZWw="] }), undefined);
    assert.equal(refusal(der, { ...applicant, channelBindings: ["YW5vdGhlcg=="] }), "channel");
    assert.equal(refusal(der, { ...applicant, channelBindings: [] }), "channel");
    assert.equal(refusal(der), undefined, "a file has no connection");
  });

  it("are made by us so that openssl verifies them", () => {
    for (const pair of [
      generateKeyPairSync("ec", { namedCurve: "P-256" }),
      generateKeyPairSync("ec", { namedCurve: "P-384" }),
      generateKeyPairSync("ed25519"),
    ]) {
      const der = createRequest({
        key: pair.privateKey,
        device: "boiler-7",
        tenant: "default",
        challengePassword: "x",
      });
      const { stdout, stderr, status } = spawnSync(
        "openssl",
        ["req", "-inform", "DER", "-verify", "-noout", "-text"],
        { input: der, encoding: "utf8" },
      );
      assert.equal(status, 0, stderr);
      assert.match(stderr, /verify OK/i);
      assert.match(stdout, /Subject: CN = boiler-7[^]*challengePassword +:x[^]*urn:iot:default:boiler-7/);
      assert.equal(refusal(der, { ...applicant, channelBindings: ["x"] }), undefined);
    }
  });
});

describe("a certificate for the key of a request", () => {
  const validity = { notBeforeMs: Date.UTC(2027, 0, 1), notAfterMs: Date.UTC(2027, 1, 1) };

  it(
    "has our names, our uses and that key, and passes openssl's strict check",
    { skip: opensslMissing },
    async () => {
      const root = await issueRoot({ commonName: "root", validity });
      const directory = mkdtempSync(join(tmpdir(), "postern-csr-"));
      try {
        for (const pair of [
          generateKeyPairSync("ec", { namedCurve: "P-256" }),
          generateKeyPairSync("ec", { namedCurve: "P-384" }),
          generateKeyPairSync("ed25519"),
        ]) {
          const { publicKey } = accepted(createRequest({ key: pair.privateKey, device: "somebody" }));
          const pem = await issueDeviceFor({ ...applicant, validity, issuer: root }, publicKey);
          const certificate = decodeCertificate(pem);
          assert.ok(certificate !== undefined && certificate.x509.checkPrivateKey(pair.privateKey));
          assert.deepEqual(deviceOf(certificate), applicant);
          assert.equal(certificate.x509.subject, "CN=boiler-7");
          assert.equal(
            keyIdOf(certificate.x509.publicKey.export({ format: "der", type: "spki" })),
            publicKey.id,
          );
          for (const [name, text] of [
            ["root", root.certificate],
            ["leaf", pem],
          ] as const)
            writeFileSync(join(directory, `${name}.pem`), text);
          const { stdout, stderr } = spawnSync(
            "openssl",
            [
              "verify",
              "-x509_strict",
              "-purpose",
              "sslclient",
              "-attime",
              String(validity.notBeforeMs / 1_000 + 1),
              "-CAfile",
              "root.pem",
              "leaf.pem",
            ],
            { cwd: directory, encoding: "utf8" },
          );
          assert.match(stdout + stderr, /leaf\.pem: OK/);
        }
      } finally {
        rmSync(directory, { recursive: true });
      }
    },
  );
});

describe("certification requests", () => {
  const good = createRequest({ key: privateKey, device: "boiler-7", tenant: "default" });

  it("are refused when whoever made them has not the private key", () => {
    const other = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const stolen = crafted({
      spki: createPublicKey(other.privateKey).export({ format: "der", type: "spki" }),
    });
    assert.equal(refusal(stolen), "signature");
    assert.equal(refusal(crafted({ algorithm: "1.3.101.112" })), "signature");
    assert.equal(refusal(crafted({ algorithm: "1.2.840.10045.4.3.3" })), "signature", "another digest");
    assert.equal(refusal(crafted({})), undefined, "the honest one");
  });

  it("are refused for Ed25519 keys for which anybody can sign", () => {
    // With the neutral element as key, R = B and S = 1 verify for every message.
    const identity = Buffer.concat([Buffer.from("302a300506032b657003210001", "hex"), Buffer.alloc(31)]);
    const forged = Buffer.concat([Buffer.from(`58${"66".repeat(31)}01`, "hex"), Buffer.alloc(31)]);
    const info = sequence(integer(0), sequence(), identity, explicit(0));
    const algorithm = sequence(objectIdentifier("1.3.101.112"));
    assert.equal(refusal(sequence(info, algorithm, bitString(forged))), "key");
  });

  it("are refused for a key in another form than the one that names it", () => {
    const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
    const point = spki.subarray(27);
    const compressed = Buffer.concat([
      Buffer.from("3039301306072a8648ce3d020106082a8648ce3d030107032200", "hex"),
      Buffer.of(2 + ((point[63] ?? 0) & 1)),
      point.subarray(0, 32),
    ]);
    assert.equal(refusal(crafted({ spki: compressed })), "key");
    const offCurve = Buffer.from(spki);
    offCurve[90] = (offCurve[90] ?? 0) ^ 1;
    assert.equal(refusal(crafted({ spki: offCurve })), "key");
  });

  it("are refused when their form is not that of the standard (RFC 2986)", () => {
    const subjectAltName = extension("2.5.29.17", sequence());
    for (const der of [
      crafted({ version: 1 }),
      crafted({ attributes: [extensionRequest(subjectAltName, subjectAltName)] }),
      crafted({ attributes: [extensionRequest(), extensionRequest()] }),
      crafted({ attributes: [sequence(objectIdentifier("1.2.840.113549.1.9.14"), setOf())] }),
      crafted({
        attributes: [extensionRequest(extension("2.5.29.19", sequence(boolean(true), boolean(true))))],
      }),
      crafted({ attributes: [sequence(objectIdentifier("1.2.840.113549.1.9.7"), setOf(integer(1)))] }),
      Buffer.concat([good, Buffer.of(0)]),
      good.subarray(0, -1),
      Buffer.alloc(0),
      Buffer.from("30800000", "hex"),
      element(0x30, Buffer.alloc(requestBytesMax)),
    ])
      assert.equal(refusal(der), "malformed", der.toString("hex"));
    const pem = toPem("CERTIFICATE REQUEST", good);
    for (const text of [
      "",
      "hello",
      pem + pem,
      pem.slice(0, -40),
      toPem("CERTIFICATE", good),
      "A".repeat(100_000),
    ])
      assert.equal(refusal(text), "malformed");
    assert.equal(refusal(`Subject: somebody\n${pem}`), undefined);
  });

  it("are refused for attributes we do not know", () => {
    const unstructuredName = sequence(
      objectIdentifier("1.2.840.113549.1.9.2"),
      setOf(octetString(Buffer.of(1))),
    );
    assert.equal(refusal(crafted({ attributes: [unstructuredName] })), "attribute");
  });

  it("never make reading them throw, and are not granted with one byte changed", () => {
    for (let index = 0; index < good.length; index += 1) {
      for (const bit of [0x01, 0x80]) {
        const changed = Buffer.from(good);
        changed[index] = (changed[index] ?? 0) ^ bit;
        assert.notEqual(refusal(changed), undefined, `byte ${index}`);
      }
      assert.equal(refusal(good.subarray(0, index)), "malformed");
    }
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.nat(good.length),
        fc.nat(good.length),
        (bytes, from, count) => {
          assert.notEqual(refusal(bytes), undefined);
          const spliced = Buffer.concat([good.subarray(0, from), bytes, good.subarray(from + count)]);
          if (!spliced.equals(good)) assert.notEqual(refusal(spliced), undefined);
          assert.notEqual(
            refusal(`-----BEGIN CERTIFICATE REQUEST-----${Buffer.from(bytes).toString("latin1")}`),
            undefined,
          );
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it("are only made with keys that can be certified", () => {
    for (const key of [
      generateKeyPairSync("rsa", { modulusLength: 2_048 }).privateKey,
      generateKeyPairSync("ec", { namedCurve: "secp256k1" }).privateKey,
      createPrivateKey(generateKeyPairSync("x25519").privateKey.export({ format: "pem", type: "pkcs8" })),
    ])
      assert.throws(() => createRequest({ key, device: "d" }), RangeError);
  });
});
