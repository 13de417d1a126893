import { execFileSync } from "node:child_process";

/** A new self-signed certificate of `localhost` and its key, in PEM, one after the other: ECDSA with P-256 unless said otherwise. */
export function selfSigned(...newKey: readonly string[]): string {
  const kind = newKey.length > 0 ? newKey : ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
  const files = ["-keyout", "-", "-out", "-", "-days", "2", "-subj", "/CN=localhost"];
  return execFileSync(
    "openssl",
    ["req", "-x509", "-newkey", ...kind, "-nodes", ...files, "-addext", "subjectAltName=DNS:localhost"],
    { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] },
  );
}
