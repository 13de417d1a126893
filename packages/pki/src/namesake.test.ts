import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { issueIntermediate, issueRoot } from "./issue.ts";
import { namesakeOf } from "./namesake.ts";
import { certificateOf, fieldsOf } from "./testing.ts";

const validity = { notBeforeMs: Date.UTC(2027, 0), notAfterMs: Date.UTC(2028, 0) };

describe("namesake of an authority", () => {
  it("has its name and time, and verifies nothing that it issued", async () => {
    const root = await issueRoot({ commonName: "Plant root", validity });
    const below = await issueIntermediate({ commonName: "Plant", validity, issuer: root });
    const pem = namesakeOf(certificateOf(root.certificate));
    const namesake = certificateOf(pem);
    assert.deepEqual(fieldsOf(pem).subject, fieldsOf(root.certificate).subject);
    assert.equal(namesake.notAfterMs, validity.notAfterMs);
    assert.equal(namesake.authority, true);
    assert.equal(namesake.x509.verify(namesake.x509.publicKey), true);
    assert.equal(certificateOf(below.certificate).x509.verify(namesake.x509.publicKey), false);
  });
});
