import assert from "node:assert/strict";
import {
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  type JsonWebKey,
  type KeyObject,
} from "node:crypto";
import { describe, it } from "node:test";

import { encodeCbor } from "../cbor/encode.ts";
import { CborTagged, type CborKey, type CborValue } from "../cbor/value.ts";
import { decodeCose, type CoseMessage } from "./message.ts";
import { openCose, type CoseOpenOptions } from "./open-cose.ts";

const content = "This is the content.";

/** Keys of RFC 9052 appendix C.7. */
const ec = (jwk: JsonWebKey): JsonWebKey => ({ kty: "EC", crv: "P-256", ...jwk });
const eleven = ec({
  x: "usWxHK2PmfnHKwXPS54m0kTcGJ90UiglWiGahtagnv8",
  y: "IBOL-C3BttVivg-lSreASjpkttcsz-1rb7btKLv8EX4",
});
const meriadoc = ec({
  x: "Ze2loSV3wrroKUN_4zhwGhCqo3Xhu1td4QjeQ5wIVR0",
  y: "HlLtdXARY_f55A3fnzQbPcm6hgr34Mp8p-nuzQCE0Zw",
  d: "r_kHyZ-a06rmxM3yESK84r1otSg-aQcVStkRhA-iCM8",
});
const peregrin = ec({
  x: "mPUKT_bAWGHIhg0TpjjqVsP1rXWQu_vwVOHHtNkdYoA",
  y: "8BQAsImGeAS46fyWw5MhYfGTT0IjBpFw2SS34Dv4Irs",
});
const bilbo: JsonWebKey = {
  kty: "EC",
  crv: "P-521",
  x: "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",
  y: "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1",
  d: "AAhRON2r9cqXX1hg-RoI6R1tX5p2rUAYdmpHZoC1XNM56KtscrX6zbKipQrCW9CGZH3T4ubpnoTKLDYJ_fF3_rJt",
};
const ourSecret = secret("hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg");
const ourSecret2 = secret("hJtXhkV8FJG-Onbc6mxCcQ");

function secret(k: string): KeyObject {
  return createSecretKey(Buffer.from(k, "base64url"));
}

function message(hex: string): CoseMessage {
  const decoded = decodeCose(Buffer.from(hex.replaceAll(/\s/g, ""), "hex"));
  return decoded.kind === "message" ? decoded.message : assert.fail(decoded.reason);
}

interface Example {
  readonly name: string;
  readonly hex: string;
  readonly key: KeyObject;
  readonly options?: CoseOpenOptions;
}

const text = "546869732069732074686520636f6e74656e742e";

const signedByTwo = `d8628440a054${text}828343a10126a1044231315840
  e2aeafd40d69d19dfe6e52077c5d7ff4e408282cbefb5d06cbf414af2e19d982
  ac45ac98b8544c908b4507de1e90b717c3d34816fe926a2b98f53afd2fa0f30a
  8344a1013823a104581e62696c626f2e62616767696e7340686f626269746f6e2e6578616d706c65
  588400a2d28a7c2bdb1587877420f65adf7d0b9a06635dd1de64bb62974c863f0b160dd2163734034e6ac003b01e8705524c5c4ca479
  a952f0247ee8cb0b4fb7397ba08d009e0c8bf482270cc5771aa143966e5a469a09f613488030c5b07ec6d722e3835adb5b2d8c44e95f
  fb13877dd2582866883535de3bb03d01753f83ab87bb4f7a0297`;

const forTwo = `d8618543a10105a054${text}5820bf48235e809b5c42e995f2b7d5fa13620e7ed834e337f6aa43df161e49e9323e
  828344a101381ca220a40102200321
  58420043b12669acac3fd27898ffba0bcd2e6c366d53bc4db71f909a759304acfb5e18cdc7ba0b13ff8c7636271a6924b1ac63c026
  88075b55ef2d613574e7dc242f79c322f504581e62696c626f2e62616767696e7340686f626269746f6e2e6578616d706c65
  5828339bc4f79984cdc6b3e6ce5f315a4c7d2b0ac466fcea69e8c07dfbca5bb1f661bc5f8e0df9e3eff5
  8340a2012404582430313863306165352d346439622d343731622d626664362d656566333134626337303337
  58280b2c7cfce04e98276342d6476a7723c090dfdd15f9a518e7736549e998370695e6d6a83b4ae507bb`;

/** All of RFC 9052 appendix C. */
const examples: readonly Example[] = [
  {
    name: "C.1.1, signed by one",
    key: createPublicKey({ key: eleven, format: "jwk" }),
    hex: `d8628440a054${text}818343a10126a1044231315840
      e2aeafd40d69d19dfe6e52077c5d7ff4e408282cbefb5d06cbf414af2e19d982
      ac45ac98b8544c908b4507de1e90b717c3d34816fe926a2b98f53afd2fa0f30a`,
  },
  {
    name: "C.1.2, signed by two, of the first",
    key: createPublicKey({ key: eleven, format: "jwk" }),
    hex: signedByTwo,
  },
  {
    name: "C.1.2, signed by two, of the second (P-521)",
    key: createPublicKey({ key: bilbo, format: "jwk" }),
    hex: signedByTwo,
  },
  {
    name: "C.1.3, signed, with a critical parameter",
    key: createPublicKey({ key: eleven, format: "jwk" }),
    options: { understood: ["reserved"] },
    hex: `d8628456a2687265736572766564f40281687265736572766564a054${text}818343a10126a1044231315840
      3fc54702aa56e1b2cb20284294c9106a63f91bac658d69351210a031d8fc7c5f
      f3e4be39445b1a3e83e1510d1aca2f2e8a7c081c7645042b18aba9d1fad1bd9c`,
  },
  {
    name: "C.2.1, signed by one (COSE_Sign1)",
    key: createPublicKey({ key: eleven, format: "jwk" }),
    hex: `d28443a10126a10442313154${text}5840
      8eb33e4ca31d1c465ab05aac34cc6b23d58fef5c083106c4d25a91aef0b0117e
      2af9a291aa32e14ab834dc56ed2a223444547e01f11d3b0916e5a4c345cacb36`,
  },
  {
    name: "C.3.1, encrypted with an agreed key (ECDH-ES), its point compressed",
    key: createPrivateKey({ key: meriadoc, format: "jwk" }),
    hex: `d8608443a10101a1054cc9cf4df2fe6c632bf78864135824
      7adbe2709ca818fb415f1e5df66f4e1a51053ba6d65a1a0c52a357da7a644b8070a151b0
      818344a1013818a220a4010220012158
      2098f50a4ff6c05861c8860d13a638ea56c3f5ad7590bbfbf054e1c7b4d91d628022f5
      0458246d65726961646f632e6272616e64796275636b406275636b6c616e642e6578616d706c6540`,
  },
  {
    name: "C.3.2, encrypted with a derived key (HKDF)",
    key: ourSecret,
    options: {
      partyUIdentity: Buffer.from("lighting-client"),
      partyVIdentity: Buffer.from("lighting-server"),
      publicInfo: Buffer.from("Encryption Example 02"),
    },
    hex: `d8608443a1010aa1054d89f52f65a1c580933b5261a76c581c
      753548a19b1307084ca7b2056924ed95f2e3b17006dfe931b687b847
      818343a10129a2335061616262636364646565666667676868044a6f75722d73656372657440`,
  },
  {
    name: "C.3.3, encrypted with an agreed and wrapped key (ECDH-SS), with external data",
    key: createPrivateKey({ key: meriadoc, format: "jwk" }),
    options: {
      externalAad: Buffer.from("0011bbcc22dd44ee55ff660077", "hex"),
      sender: createPublicKey({ key: peregrin, format: "jwk" }),
    },
    hex: `d8608443a10101a1054c02d1f7e6f26c43d4868d87ce5824
      64f84d913ba60a76070a9a48f26e97e863e28529d8f5335e5f0165eee976b4a5f6c6f09d
      818344a101381fa3225821706572656772696e2e746f6f6b407475636b626f726f7567682e6578616d706c65
      0458246d65726961646f632e6272616e64796275636b406275636b6c616e642e6578616d706c65
      35420101581841e0d76f579dbd0d936a662d54d8582037de2e366fde1c62`,
  },
  {
    name: "C.4.1, encrypted (COSE_Encrypt0, AES-CCM)",
    key: ourSecret2,
    hex: `d08343a1010aa1054d89f52f65a1c580933b5261a78c581c
      5974e1b99a3a4cc09a659aa2e9e7fff161d38ce71cb45ce460ffb569`,
  },
  {
    name: "C.4.2, encrypted, with a Partial IV",
    key: ourSecret2,
    options: { baseIv: Buffer.from("89f52f65a1c580930000000000", "hex") },
    hex: `d08343a1010aa1064261a7581c
      252a8911d465c125b6764739700f0141ed09192de139e053bd09abca`,
  },
  {
    name: "C.5.1, MAC with a shared key (AES-CBC-MAC)",
    key: ourSecret,
    hex: `d8618543a1010fa054${text}489e1226ba1f81b848818340a20125044a6f75722d73656372657440`,
  },
  {
    name: "C.5.2, MAC with an agreed key (ECDH-SS)",
    key: createPrivateKey({ key: meriadoc, format: "jwk" }),
    options: { sender: createPublicKey({ key: peregrin, format: "jwk" }) },
    hex: `d8618543a10105a054${text}582081a03448acd3d305376eaa11fb3fe416a955be2cbe7ec96f012c994bc3f16a41
      818344a101381aa3225821706572656772696e2e746f6f6b407475636b626f726f7567682e6578616d706c65
      0458246d65726961646f632e6272616e64796275636b406275636b6c616e642e6578616d706c65355840
      4d8553e7e74f3c6a3a9dd3ef286a8195cbf8a23d19558ccfec7d34b824f42d92
      bd06bd2c7f0271f0214e141fb779ae2856abf585a58368b017e7f2a9e5ce4db540`,
  },
  {
    name: "C.5.3, MAC with a wrapped key (A256KW)",
    key: ourSecret,
    hex: `d8618543a1010ea054${text}4836f5afaf0bab5d43818340a2012404582430313863306165352d346439622d
      343731622d626664362d6565663331346263373033375818711ab0dc2fc4585dce27effa6781c8093eba906f227b6eb0`,
  },
  {
    name: "C.5.4, MAC for two, with an agreed and wrapped key (ECDH-ES+A128KW, P-521)",
    key: createPrivateKey({ key: bilbo, format: "jwk" }),
    hex: forTwo,
  },
  {
    name: "C.5.4, MAC for two, with a wrapped key (A256KW)",
    key: ourSecret,
    hex: forTwo,
  },
  {
    name: "C.6.1, MAC (COSE_Mac0)",
    key: ourSecret,
    hex: `d18443a1010fa054${text}48726043745027214f`,
  },
];

for (const { name, hex, key, options } of examples) {
  describe(`the example of RFC 9052 ${name}`, () => {
    it("opens", () => {
      const result = openCose(message(hex), key, options);
      assert.ok(result.kind === "opened", JSON.stringify(result));
      assert.equal(Buffer.from(result.payload).toString(), content);
    });

    it("does not open with other external data, another key, or a bit changed", () => {
      const externalAad = Buffer.from("other");
      assert.equal(openCose(message(hex), key, { ...options, externalAad }).kind, "refused");
      const others = [
        secret("AAAAAAAAAAAAAAAAAAAAAA"),
        createPrivateKey({
          key: { ...peregrin, d: "AtH35vJsQ9SGjYfOsjUxYXQKrPH3FjZHmEtSKoSN8cM" },
          format: "jwk",
        }),
      ];
      for (const other of others) assert.equal(openCose(message(hex), other, options).kind, "refused");
      const bytes = Buffer.from(hex.replaceAll(/\s/g, ""), "hex");
      const at = bytes.indexOf(message(hex).content ?? assert.fail());
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      assert.equal(openCose(message(bytes.toString("hex")), key, options).kind, "refused");
    });
  });
}

describe("a COSE message", () => {
  const sign1 = examples.find(({ name }) => name.startsWith("C.2.1"));
  const hex = sign1?.hex.replaceAll(/\s/g, "") ?? assert.fail();

  it("may come without a tag, where it is said what it is, and without its content, where that is given (RFC 9052 §2, §4.1)", () => {
    const untagged = Buffer.from(hex, "hex").subarray(1);
    assert.equal(decodeCose(untagged).kind, "malformed");
    assert.equal(decodeCose(untagged, { untagged: "sign1" }).kind, "message");
    assert.equal(decodeCose(untagged, { untagged: "encrypt0" }).kind, "malformed");
    const detached = message(hex.replace(`54${text}`, "f6"));
    const key = sign1?.key ?? assert.fail();
    assert.equal(openCose(detached, key).kind, "refused");
    assert.equal(openCose(detached, key, { detached: Buffer.from(content) }).kind, "opened");
  });

  it("with a critical parameter opens for those who understand it only (RFC 9052 §3.1)", () => {
    // {1: -7, 2: ["reserved"], "reserved": false}, as in C.1.3; signed by nobody.
    const header = new Map<CborKey, CborValue>([
      [1, -7],
      [2, ["reserved"]],
      ["reserved", false],
    ]);
    const parts = [encodeCbor(header), new Map(), Buffer.from(content), Buffer.alloc(64)];
    const critical = message(encodeCbor(new CborTagged(18, parts)).toString("hex"));
    const key = createPublicKey({ key: eleven, format: "jwk" });
    const codes = [{}, { understood: ["reserved"] }].map((options) => {
      const result = openCose(critical, key, options);
      return result.kind === "refused" ? result.code : "opened";
    });
    assert.deepEqual(codes, ["critical", "not-authentic"]);
  });

  it("with a label in both headers is refused: readers would differ about it (RFC 9052 §3)", () => {
    assert.equal(decodeCose(Buffer.from(hex.replace("a104423131", "a1012600"), "hex")).kind, "malformed");
    assert.equal(decodeCose(Buffer.from(hex.replace("a104423131", "a10126"), "hex")).kind, "malformed");
  });

  it("with an algorithm that we do not know says so", () => {
    const result = openCose(message(hex.replace("43a10126", "44a1013863")), sign1?.key ?? assert.fail());
    assert.ok(result.kind === "refused" && result.code === "unknown-algorithm", JSON.stringify(result));
  });
});
