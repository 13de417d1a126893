import assert from "node:assert/strict";
import {
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  type JsonWebKey,
  type KeyObject,
} from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, it } from "node:test";

import { decodeCose, type CoseKind } from "@postern/seal/cose/message";
import { openCose, type CoseOpenOptions } from "@postern/seal/cose/open-cose";
import { z } from "zod";

/** A clone of https://github.com/cose-wg/Examples: `COSE_EXAMPLES=/path/to/Examples node --test packages/cli/test/cose-examples.test.ts`. */
const directory = process.env["COSE_EXAMPLES"];

const keySchema = z.looseObject({ kty: z.string(), crv: z.string().optional() });
type ExampleKey = z.infer<typeof keySchema>;

const partSchema = z.looseObject({
  key: keySchema.optional(),
  sender_key: keySchema.optional(),
  external: z.string().optional(),
  unprotected: z.looseObject({ partialIV_hex: z.string().optional() }).optional(),
  unsent: z
    .looseObject({
      IV_hex: z.string().optional(),
      apu_id: z.string().optional(),
      apv_id: z.string().optional(),
      pub_other: z.string().optional(),
      priv_other: z.string().optional(),
    })
    .optional(),
});

const messageSchema = partSchema.extend({
  signers: z.array(partSchema).optional(),
  recipients: z.array(partSchema).optional(),
});

const exampleSchema = z.object({
  title: z.string(),
  fail: z.boolean().optional(),
  input: z.looseObject({
    plaintext: z.string().optional(),
    plaintext_hex: z.string().optional(),
    detached: z.boolean().optional(),
    sign: messageSchema.optional(),
    sign0: messageSchema.optional(),
    mac: messageSchema.optional(),
    mac0: messageSchema.optional(),
    enveloped: messageSchema.optional(),
    encrypted: messageSchema.optional(),
  }),
  output: z.object({ cbor: z.string() }),
});
type Example = z.infer<typeof exampleSchema>;

/** What the examples call a message, and we. */
const kinds = [
  ["sign", "sign"],
  ["sign0", "sign1"],
  ["mac", "mac"],
  ["mac0", "mac0"],
  ["enveloped", "encrypt"],
  ["encrypted", "encrypt0"],
] as const satisfies readonly (readonly [string, CoseKind])[];

/** Not ours (decision 061), or older than RFC 9052: keys derived with AES, RSA-OAEP, hash signatures, other curves. */
const others = /HKDF-AES|RSA-OAEP|HSS-LMS|secp256k1|ES256K/;
/** Tags of drafts. */
const drafts = /^D903(?:DF|E0|E1|E2)/i;

function field(key: ExampleKey, name: string): string | undefined {
  const hex = key[`${name}_hex`];
  if (typeof hex === "string") return Buffer.from(hex, "hex").toString("base64url");
  const text = key[name];
  return typeof text === "string" ? Buffer.from(text, "base64").toString("base64url") : undefined;
}

function jwkOf(key: ExampleKey): JsonWebKey {
  const jwk: JsonWebKey = { kty: key.kty, ...(key.crv === undefined ? {} : { crv: key.crv }) };
  for (const name of ["x", "y", "d", "n", "e", "p", "q", "dp", "dq", "qi"]) {
    const value =
      field(key, name) ?? (name === "dp" ? field(key, "dP") : name === "dq" ? field(key, "dQ") : undefined);
    if (value !== undefined) jwk[name] = value;
  }
  return jwk;
}

function keyOf(key: ExampleKey, use: "public" | "private"): KeyObject {
  if (key.kty === "oct") return createSecretKey(Buffer.from(field(key, "k") ?? "", "base64url"));
  const jwk = jwkOf(key);
  if (use === "private") return createPrivateKey({ key: jwk, format: "jwk" });
  const { d: _d, p: _p, q: _q, dp: _dp, dq: _dq, qi: _qi, ...open } = jwk;
  return createPublicKey({ key: open, format: "jwk" });
}

function bytesOf(text: string | undefined): Buffer | undefined {
  return text === undefined ? undefined : Buffer.from(text, "utf8");
}

/** The base of an IV that is given as a whole: what its last bytes are once the partial one is taken out. */
function baseIvOf({ unsent, unprotected }: z.infer<typeof partSchema>): Buffer | undefined {
  if (unsent?.IV_hex === undefined) return undefined;
  const iv = Buffer.from(unsent.IV_hex, "hex");
  const partial = Buffer.from(unprotected?.partialIV_hex ?? "", "hex");
  for (const [index, byte] of partial.entries()) {
    const at = iv.length - partial.length + index;
    iv[at] = (iv[at] ?? 0) ^ byte;
  }
  return iv;
}

/** What becomes of an example with each of its keys: its content, or a code. */
function outcomes({ input, output }: Example): string[] {
  const [name, kind] = kinds.find(([each]) => input[each] !== undefined) ?? assert.fail("no message");
  const message = input[name] ?? assert.fail();
  const decoded = decodeCose(Buffer.from(output.cbor, "hex"), { untagged: kind });
  if (decoded.kind === "malformed") return ["malformed"];
  const parts = message.signers ?? message.recipients ?? [message];
  return parts.map((part) => {
    const { unsent, key = message.key } = part;
    const external = part.external ?? message.external;
    const options: CoseOpenOptions = {
      externalAad: external === undefined ? undefined : Buffer.from(external, "hex"),
      baseIv: baseIvOf(message),
      detached: input.detached === true ? plaintextOf(input) : undefined,
      sender: part.sender_key && keyOf(part.sender_key, "public"),
      partyUIdentity: bytesOf(unsent?.apu_id),
      partyVIdentity: bytesOf(unsent?.apv_id),
      publicInfo: bytesOf(unsent?.pub_other),
      privateInfo: bytesOf(unsent?.priv_other),
    };
    const use = kind === "sign" || kind === "sign1" ? "public" : "private";
    const result = openCose(decoded.message, keyOf(key ?? assert.fail("no key"), use), options);
    return result.kind === "refused" ? result.code : Buffer.from(result.payload).toString("hex");
  });
}

function plaintextOf({ plaintext, plaintext_hex: hex }: Example["input"]): Buffer {
  return hex === undefined ? Buffer.from(plaintext ?? "", "utf8") : Buffer.from(hex, "hex");
}

function filesIn(path: string): string[] {
  return readdirSync(path, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".json") && !name.startsWith("JOSE-cookbook"))
    .map((name) => join(path, name));
}

describe(
  "the examples of the COSE working group",
  { skip: directory === undefined && "COSE_EXAMPLES names no folder" },
  () => {
    const path = directory ?? "";
    const files = directory === undefined ? [] : filesIn(path);
    let checked = 0;

    for (const file of files) {
      const text = readFileSync(file, "utf8");
      const parsed = exampleSchema.safeParse(JSON.parse(text));
      // A key, a CWT of several layers, or one without a message.
      if (!parsed.success || !kinds.some(([name]) => parsed.data.input[name] !== undefined)) continue;
      const example = parsed.data;
      if (others.test(text) || drafts.test(example.output.cbor)) continue;
      checked += 1;
      it(`${relative(path, file)}: ${example.fail === true ? "is refused" : "opens"}`, () => {
        const expected = plaintextOf(example.input).toString("hex");
        const found = outcomes(example);
        if (example.fail === true) assert.ok(!found.includes(expected), found.join());
        else for (const each of found) assert.equal(each, expected);
      });
    }

    it("were found", () => assert.ok(checked > 0, `${path} holds no example that could be opened`));
  },
);
