import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, describe, it } from "node:test";

import * as fc from "fast-check";

import { issueDevice, issueIntermediate, issueRoot } from "./issue.ts";
import { fromPem, toPem } from "./pem.ts";
import { decodeCertsOnly, encodeCertsOnly } from "./pkcs7.ts";

const opensslMissing = spawnSync("openssl", ["version"]).status === 0 ? false : "openssl is not installed";
const validity = { notBeforeMs: Date.UTC(2027, 0, 1), notAfterMs: Date.UTC(2028, 0, 1) };

describe("certs-only PKCS #7 (RFC 5652 §5.1)", () => {
  let chain: Buffer[];

  before(async () => {
    const root = await issueRoot({ commonName: "root", validity });
    const issuer = await issueIntermediate({ commonName: "issuing", validity, issuer: root });
    const device = await issueDevice({ tenant: "default", device: "boiler-7", validity, issuer });
    chain = [device, issuer, root].flatMap(({ certificate }) => fromPem("CERTIFICATE", certificate));
  });

  it("is read by openssl with all certificates in their order", { skip: opensslMissing }, () => {
    const { stdout, status } = spawnSync("openssl", ["pkcs7", "-inform", "DER", "-print_certs"], {
      input: encodeCertsOnly(chain),
      encoding: "utf8",
    });
    assert.equal(status, 0);
    assert.deepEqual(fromPem("CERTIFICATE", stdout), chain);
    assert.match(stdout, /subject=CN = boiler-7[^]*subject=CN = issuing[^]*subject=CN = root/);
  });

  it("is read back, from us and from openssl", { skip: opensslMissing }, (t) => {
    for (const certificates of [chain, chain.slice(0, 1), []]) {
      assert.deepEqual(decodeCertsOnly(encodeCertsOnly(certificates)), {
        kind: "value",
        value: certificates,
      });
    }
    const directory = mkdtempSync(join(tmpdir(), "postern-pkcs7-"));
    t.after(() => rmSync(directory, { recursive: true }));
    const file = join(directory, "chain.pem");
    writeFileSync(file, chain.map((der) => toPem("CERTIFICATE", der)).join(""));
    const { stdout } = spawnSync("openssl", ["crl2pkcs7", "-nocrl", "-outform", "DER", "-certfile", file]);
    assert.deepEqual(decodeCertsOnly(stdout), { kind: "value", value: chain });
  });

  it("is refused when it is anything else, and no bytes make the reader throw", () => {
    const good = encodeCertsOnly(chain);
    const data = Buffer.from(good);
    data[data.indexOf(Buffer.from("2a864886f70d010702", "hex")) + 8] = 1;
    for (const bytes of [Buffer.alloc(0), good.subarray(0, -1), Buffer.concat([good, Buffer.of(0)]), data])
      assert.equal(decodeCertsOnly(bytes).kind, "malformed");
    assert.equal(
      decodeCertsOnly(encodeCertsOnly(Array.from({ length: 33 }, () => Buffer.from("3000", "hex")))).kind,
      "malformed",
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(good.length), (bytes, at) => {
        decodeCertsOnly(bytes);
        decodeCertsOnly(Buffer.concat([good.subarray(0, at), bytes, good.subarray(at)]));
      }),
    );
  });
});
