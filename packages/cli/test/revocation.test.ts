import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";

import { parseBundle } from "@postern/core/bundle";
import { encodeOcspRequest } from "@postern/pki/ocsp/request";
import { verifyOcspResponse } from "@postern/pki/ocsp/verify";
import { certificateOf, fieldsOf, noOpenssl } from "@postern/pki/testing";

import { configured } from "./support/configurations.ts";
import {
  firstBundle,
  freePort,
  command,
  scratch,
  up,
  type Scratch,
  type TestServer,
} from "./support/postern.ts";

const run = promisify(execFile);

/** Both outputs of openssl, whatever its exit code. */
async function openssl(...args: readonly (string | readonly string[])[]): Promise<string> {
  const { stdout, stderr } = await run("openssl", args.flat()).catch(
    (thrown: { stdout: string; stderr: string }) => thrown,
  );
  return stdout + stderr;
}

describe("revocation service", { skip: noOpenssl }, () => {
  let place: Scratch;
  let server: TestServer;
  let base: string;

  before(async () => {
    place = scratch();
    base = `http://127.0.0.1:${await freePort()}`;
    const text = `listeners: [{ url: "mqtts://127.0.0.1:0", tls: { sessionResumption: true } }, { url: "wss://127.0.0.1:0" }]\nmetrics: { url: off }\nrevocation: { url: "${base}" }\n`;
    server = await up(configured(place.path, text));
    writeFileSync(file("device.crt"), firstBundle(server.data).certificate ?? "");
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    place[Symbol.dispose]();
  });

  function file(name: string): string {
    return join(place.path, name);
  }

  function pki(name: string): string {
    return join(server.data, "pki", name);
  }

  async function manage(...args: readonly string[]): Promise<void> {
    const { code, stderr } = await command(["device", ...args, "--data", server.data]);
    assert.equal(code, 0, stderr);
  }

  function question(nonce?: Uint8Array) {
    const issuer = fieldsOf(readFileSync(pki("issuing.crt"), "utf8"));
    const { serialNumber } = certificateOf(readFileSync(file("device.crt"), "utf8"));
    const request = encodeOcspRequest({ serialNumber, issuer, nonce });
    const verify = (response: Uint8Array) =>
      verifyOcspResponse({ response, serialNumber, issuer, nonce, nonceRequired: false, nowMs: Date.now() })
        .kind;
    return { request, verify };
  }

  it("has lists that openssl takes for every authority, at the URL that certificates name", async () => {
    const all = await (await fetch(`${base}/crl/all.pem`)).text();
    writeFileSync(file("all.pem"), all);
    const chain = ["-CAfile", pki("root.crt"), "-untrusted", pki("issuing.crt"), "-CRLfile", file("all.pem")];
    const checked = await openssl("verify", "-x509_strict", "-crl_check_all", ...chain, file("device.crt"));
    assert.match(checked, /: OK/);
    const text = await openssl("x509", "-in", file("device.crt"), "-noout", "-text");
    const { serialNumber } = certificateOf(readFileSync(pki("issuing.crt"), "utf8"));
    const named = `${base}/crl/issuing-${serialNumber}.crl`;
    assert.ok(text.includes(`URI:${named}`));
    assert.ok(text.includes(`OCSP - URI:${base}/ocsp`));
    const crl = await fetch(named);
    assert.equal(crl.headers.get("content-type"), "application/pkix-crl");
    writeFileSync(file("issuing.crl"), new Uint8Array(await crl.arrayBuffer()));
    const shown = await openssl("crl", "-inform", "DER", "-in", file("issuing.crl"), "-noout", "-text");
    assert.ok(shown.includes(`URI:${named}`));
    assert.doesNotMatch(shown, /Only/);
  });

  it("answers openssl by OCSP, with and without nonce", async () => {
    for (const nonce of ["-nonce", "-no_nonce"]) {
      const text = await openssl(
        ["ocsp", "-issuer", pki("issuing.crt"), "-cert", file("device.crt"), "-url", `${base}/ocsp`],
        ["-CAfile", pki("root.crt"), nonce],
      );
      assert.match(text, /Response verify OK/);
      assert.match(text, /device\.crt: good/);
      assert.doesNotMatch(text, /WARNING/);
    }
  });

  it("answers GET and POST, and lets caches keep what is for all (RFC 5019 §5, §6)", async () => {
    const { request, verify } = question();
    const base64 = Buffer.from(request).toString("base64");
    for (const path of [encodeURIComponent(base64), base64]) {
      const response = await fetch(`${base}/ocsp/${path}`);
      assert.equal(response.headers.get("content-type"), "application/ocsp-response");
      assert.match(
        response.headers.get("cache-control") ?? "",
        /^max-age=3[56]\d\d, public, no-transform, must-revalidate$/,
      );
      assert.ok(Date.parse(response.headers.get("expires") ?? "") > Date.now());
      assert.equal(verify(new Uint8Array(await response.arrayBuffer())), "good");
    }
    const own = question(new Uint8Array(32).fill(1));
    const headers = { "content-type": "application/ocsp-request" };
    const posted = await fetch(`${base}/ocsp`, {
      method: "POST",
      headers,
      body: Uint8Array.from(own.request),
    });
    assert.equal(posted.headers.get("cache-control"), "no-store");
    assert.equal(own.verify(new Uint8Array(await posted.arrayBuffer())), "good");
    const list = await fetch(`${base}/crl/issuing.crl`);
    const tag = list.headers.get("etag") ?? "";
    const again = await fetch(`${base}/crl/issuing.crl`, { headers: { "if-none-match": tag } });
    assert.equal(again.status, 304);
  });

  it("refuses what is none of its business, and goes on", async () => {
    const headers = { "content-type": "application/ocsp-request" };
    const tooLarge = await fetch(`${base}/ocsp`, { method: "POST", headers, body: new Uint8Array(5_000) });
    assert.equal(tooLarge.status, 413);
    const json = await fetch(`${base}/ocsp`, { method: "POST", body: "{}" });
    assert.equal(json.status, 415);
    for (const path of ["/", "/crl/../pki/issuing.key", "/crl/issuing.key", "/metrics"])
      assert.equal((await fetch(base + path)).status, 404, path);
    for (const path of ["/ocsp/AAAA", "/ocsp/+++", `/ocsp/${"A".repeat(5_000)}`]) {
      const response = await fetch(base + path);
      // malformedRequest: SEQUENCE { ENUMERATED 1 }
      assert.equal(Buffer.from(await response.arrayBuffer()).toString("hex"), "30030a0101", path);
    }
    assert.equal((await fetch(`${base}/ocsp/%ff%fe`)).status, 400);
    assert.equal((await fetch(`${base}/crl/root.crl`)).status, 200);
  });

  it("says of a revoked device that it is, at once, by CRL and OCSP", async () => {
    const bundle = file("lamp.json");
    await manage("add", "lamp", "--bundle", bundle);
    const { certificate = "" } = parseBundle(readFileSync(bundle, "utf8"), bundle);
    writeFileSync(file("lamp.crt"), certificate);
    const byOcsp = () =>
      openssl(
        ["ocsp", "-issuer", pki("issuing.crt"), "-cert", file("lamp.crt"), "-url", `${base}/ocsp`],
        ["-CAfile", pki("root.crt")],
      );
    const byCrl = async () => {
      writeFileSync(file("now.pem"), await (await fetch(`${base}/crl/all.pem`)).text());
      const chain = [
        "-CAfile",
        pki("root.crt"),
        "-untrusted",
        pki("issuing.crt"),
        "-CRLfile",
        file("now.pem"),
      ];
      return openssl("verify", "-x509_strict", "-crl_check_all", chain, file("lamp.crt"));
    };
    assert.match(await byOcsp(), /lamp\.crt: good/);
    assert.match(await byCrl(), /: OK/);
    await manage("revoke", "lamp", "--reason", "keyCompromise");
    assert.match(await byOcsp(), /lamp\.crt: revoked[^]*Reason: keyCompromise/);
    assert.match(await byCrl(), /error 23 at 0 depth lookup: certificate revoked/);
  });

  it("goes on telling of certificates whose authority was replaced", async () => {
    const bundle = file("veteran.json");
    await manage("add", "veteran", "--bundle", bundle);
    const { certificate = "" } = parseBundle(readFileSync(bundle, "utf8"), bundle);
    writeFileSync(file("veteran.crt"), certificate);
    const { serialNumber } = certificateOf(readFileSync(pki("issuing.crt"), "utf8"));
    const { code, stderr } = await command(["ca", "renew-issuing", "--data", server.data]);
    assert.equal(code, 0, stderr);
    const former = pki(`issuing-${serialNumber}.crt`);
    const byOcsp = () =>
      openssl(
        ["ocsp", "-issuer", former, "-cert", file("veteran.crt"), "-url", `${base}/ocsp`],
        ["-CAfile", pki("root.crt")],
      );
    const byCrl = async () => {
      const named = await fetch(`${base}/crl/issuing-${serialNumber}.crl`);
      writeFileSync(file("former.crl"), new Uint8Array(await named.arrayBuffer()));
      const chain = ["-CAfile", pki("root.crt"), "-untrusted", former, "-CRLfile", file("former.crl")];
      return openssl("verify", "-x509_strict", "-crl_check", chain, file("veteran.crt"));
    };
    assert.match(await byOcsp(), /veteran\.crt: good[^]*Response verify OK/);
    assert.match(await byCrl(), /: OK/);
    await manage("revoke", "veteran", "--reason", "keyCompromise");
    assert.match(await byOcsp(), /veteran\.crt: revoked[^]*Reason: keyCompromise/);
    assert.match(await byCrl(), /error 23 at 0 depth lookup: certificate revoked/);
    const text = await openssl("x509", "-in", pki("issuing.crt"), "-noout", "-serial");
    assert.ok(!text.includes(serialNumber));
  });

  it("lets one address ask so often a minute, and no more", async () => {
    const codes = new Set<number>();
    for (let round = 0; round < 14 && !codes.has(429); round += 1) {
      const batch = Array.from({ length: 50 }, async () => (await fetch(`${base}/crl/root.crl`)).status);
      for (const code of await Promise.all(batch)) codes.add(code);
    }
    assert.deepEqual(codes, new Set([200, 429]));
  });

  it("lets openssl take up its session again, and staples then, too (s_client -reconnect)", async () => {
    const { port } = new URL(server.urls[0] ?? "");
    const args = ["s_client", "-connect", `127.0.0.1:${port}`, "-tls1_2", "-status", "-reconnect"];
    const child = run("openssl", [...args, "-CAfile", pki("root.crt")]);
    child.child.stdin?.end();
    const { stdout } = await child.catch((thrown: { stdout: string }) => thrown);
    assert.match(stdout, /Cert Status: good/);
    assert.equal(stdout.match(/^New, TLSv1\.2/gm)?.length, 1, stdout);
    assert.equal(stdout.match(/^Reused, TLSv1\.2/gm)?.length, 5);
    assert.equal(stdout.match(/Verify return code: 0 \(ok\)/g)?.length, 6);
  });

  it("staples on every TLS listener, in TLS 1.2 and 1.3 (RFC 6066 §8)", async () => {
    for (const url of server.urls) {
      const { port } = new URL(url);
      for (const version of ["-tls1_2", "-tls1_3"]) {
        const args = [
          "s_client",
          "-connect",
          `127.0.0.1:${port}`,
          version,
          "-status",
          "-CAfile",
          pki("root.crt"),
        ];
        const child = run("openssl", args);
        child.child.stdin?.end();
        const { stdout } = await child.catch((thrown: { stdout: string }) => thrown);
        assert.match(stdout, /OCSP Response Status: successful/, `${url} ${version}`);
        assert.match(stdout, /Cert Status: good/);
      }
    }
  });
});
