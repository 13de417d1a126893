import { issueDevice, issueRoot, issueServer, type KeyPair, type Validity } from "@postern/pki/issue";

const dayMs = 86_400_000;

function days(from: number, to: number): Validity {
  return { notBeforeMs: Date.now() + from * dayMs, notAfterMs: Date.now() + to * dayMs };
}

/** Periods before, around and after now, all within that of the test authority. */
export const validity = {
  past: () => days(-2, -1),
  present: () => days(-1, 1),
  future: () => days(1, 2),
} as const;

/** An authority with what it has issued for a server on this machine and for one device. */
export interface Certificates {
  readonly root: KeyPair;
  readonly server: KeyPair;
  readonly device: KeyPair;
}

export async function issueCertificates(): Promise<Certificates> {
  const root = await issueRoot({ commonName: "Test authority", validity: days(-3, 3) });
  const common = { validity: validity.present(), issuer: root };
  const server = await issueServer({ ...common, hosts: ["localhost", "127.0.0.1"] });
  const device = await issueDevice({ ...common, tenant: "t", device: "lamp" });
  return { root, server, device };
}
