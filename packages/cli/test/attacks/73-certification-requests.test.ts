import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { EstTest, csr, newKey, type Held } from "../support/est.ts";
import { TestClient } from "../support/mqttjs.ts";
import { scratch, type Scratch } from "../support/postern.ts";

const opensslMissing = spawnSync("openssl", ["version"]).status === 0 ? false : "openssl is not installed";

describe(
  "attack 73: certification requests that ask for more than a device may have",
  { skip: opensslMissing },
  () => {
    let place: Scratch;
    let est: EstTest;

    before(async () => {
      place = scratch();
      est = await EstTest.start(place.path);
    });
    after(async () => {
      await est[Symbol.asyncDispose]();
      place[Symbol.dispose]();
    });

    function openssl(...args: readonly string[]): Buffer {
      return execFileSync("openssl", args, { cwd: place.path, stdio: "pipe" });
    }

    /** A request for `lamp` (DER) with a key of this kind and these extensions. */
    function request(key: string, ...extensions: readonly string[]): Buffer {
      openssl(..."genpkey -out key.pem -algorithm".split(" "), ...key.split(" "));
      const added = extensions.flatMap((extension) => ["-addext", extension]);
      return openssl(..."req -new -key key.pem -subj /CN=lamp -outform DER".split(" "), ...added);
    }

    const p256 = "EC -pkeyopt ec_paramgen_curve:P-256";

    async function refused(der: Buffer, reason: string): Promise<void> {
      const { token } = await est.token("lamp");
      const { status, text } = await est.simpleEnroll(der.toString("base64"), token);
      assert.equal(status, 400, text);
      assert.match(text, /^the certification request is refused: /);
      await est.audit(new RegExp(`"kind":"enrolment-refused"[^\\n]*"detail":"${reason}: [^\\n]*\\n$`));
      assert.equal(
        (await est.simpleEnroll(csr({ device: "lamp" }), token)).status,
        200,
        "the honest use of the same token",
      );
    }

    it("are refused for CA:TRUE and for signing certificates", async () => {
      await refused(request(p256, "basicConstraints=critical,CA:TRUE"), "authority");
      await refused(request(p256, "keyUsage=keyCertSign"), "authority");
    });

    it("are refused for names beside the device's own, and for those of another tenant", async () => {
      await refused(request(p256, "subjectAltName=URI:urn:iot:default:lamp,DNS:broker.example"), "name");
      await refused(request(p256, "subjectAltName=URI:urn:iot:other:lamp"), "name");
      await refused(request(p256, "subjectAltName=URI:urn:iot:default:first-device"), "name");
    });

    it("are refused for weak keys", async () => {
      await refused(request("RSA -pkeyopt rsa_keygen_bits:1024"), "key");
      await refused(request("EC -pkeyopt ec_paramgen_curve:P-192"), "key");
    });

    it("are refused when their own signature is not of their key", async () => {
      const der = request(p256);
      const tampered = Buffer.from(der);
      const last = tampered.length - 1;
      tampered[last] = (tampered[last] ?? 0) ^ 1;
      await refused(tampered, "signature");
    });

    it("are refused for a key that another device has", async () => {
      const key = newKey();
      const { token } = await est.token("door");
      assert.equal((await est.simpleEnroll(csr({ device: "door", key }), token)).status, 200);
      await refused(Buffer.from(csr({ device: "lamp", key }), "base64"), "key-in-use");
    });

    it("never lead to a serial number that was there, and one that somebody forged lets nobody in", async () => {
      const devices: Held[] = [];
      for (const name of ["a", "b", "c", "d"]) devices.push(await est.enrol(name));
      const [honest] = devices;
      assert.ok(honest !== undefined);
      assert.equal(new Set(devices.map(({ certificate }) => certificate.serialNumber)).size, devices.length);

      // Whoever got at the authority's key for a moment takes the serial number of a good certificate, so that no list of revoked ones has it.
      const pki = est.directory.pki;
      const names =
        "subjectAltName=URI:urn:iot:default:a\nextendedKeyUsage=clientAuth\nbasicConstraints=critical,CA:FALSE\n";
      writeFileSync(join(place.path, "extensions"), names);
      openssl(
        ..."req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout f.key -subj /CN=a -out f.csr".split(
          " ",
        ),
      );
      const serial = ["-set_serial", `0x${honest.certificate.serialNumber}`];
      const authority = ["-CA", join(pki, "issuing.crt"), "-CAkey", join(pki, "issuing.key")];
      openssl(
        ..."x509 -req -in f.csr -days 1 -extfile extensions -out f.pem".split(" "),
        ...serial,
        ...authority,
      );
      const [cert, key] = ["f.pem", "f.key"].map((name) => readFileSync(join(place.path, name), "utf8"));
      assert.ok(cert !== undefined && key !== undefined);
      const [url = ""] = est.server.urls;
      await assert.rejects(TestClient.connect(url, { ca: est.ca, cert, key }), /Not authorized/);
      assert.equal((await est.simpleReenroll(csr({ device: "a" }), { cert, key })).status, 403);
      await using client = await TestClient.connect(url, { ca: est.ca, cert: honest.cert, key: honest.key });
      assert.ok(client.client.connected);
    });
  },
);
