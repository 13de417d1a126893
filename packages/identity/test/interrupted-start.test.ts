import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { readdirSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { readCertificateBundle, startInstallation, temporaryDataDirectory } from "../src/testing.ts";

const fixture = fileURLToPath(new URL("fixtures/interrupted-start.ts", import.meta.url));

describe("a first start that is killed", () => {
  it("is completed by the next start, whatever the instant", async () => {
    let finished = false;
    let killAt = 1;
    for (; !finished; killAt += 1) {
      using temporary = temporaryDataDirectory();
      const { directory } = temporary;
      const { status, signal, stderr } = spawnSync(
        process.execPath,
        [fixture, directory.path, String(killAt)],
        {
          encoding: "utf8",
        },
      );
      assert.ok(status === 0 || signal === "SIGKILL", `change ${killAt}: ${stderr}`);
      finished = status === 0;

      const { firstBundle, registry, authority } = await startInstallation(directory, { nowMs: Date.now() });
      assert.ok(firstBundle !== undefined, `change ${killAt}`);
      const bundle = readCertificateBundle(firstBundle);
      const leaf = new X509Certificate(bundle.certificate);
      assert.equal(
        registry.findByFingerprint(leaf.fingerprint256)?.device.name,
        "first-device",
        `change ${killAt}`,
      );
      assert.equal(bundle.ca, authority.rootPem);
      assert.ok(leaf.verify(authority.issuing.x509.publicKey));
      const leftOver = readdirSync(directory.path, { recursive: true, encoding: "utf8" }).filter((name) =>
        name.includes(".tmp"),
      );
      assert.deepEqual(leftOver, [], `change ${killAt}`);
    }
    assert.ok(killAt > 15, `only ${killAt} changes were seen`);
  });
});
