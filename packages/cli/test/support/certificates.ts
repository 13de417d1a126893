import { issueDevice, issueRoot, issueServer, type KeyPair } from "@postern/pki/issue";

const dayMs = 86_400_000;

export const now = {
  valid: () => ({ notBeforeMs: Date.now() - dayMs, notAfterMs: Date.now() + dayMs }),
  expired: () => ({ notBeforeMs: Date.now() - 2 * dayMs, notAfterMs: Date.now() - dayMs }),
  future: () => ({ notBeforeMs: Date.now() + dayMs, notAfterMs: Date.now() + 2 * dayMs }),
};

/** An authority with what it has issued for a server on this machine and for one device. */
export interface Certificates {
  readonly root: KeyPair;
  readonly server: KeyPair;
  readonly device: KeyPair;
}

export async function issueCertificates(): Promise<Certificates> {
  const validity = { notBeforeMs: Date.now() - 3 * dayMs, notAfterMs: Date.now() + 3 * dayMs };
  const root = await issueRoot({ commonName: "Test authority", validity });
  const server = await issueServer({
    hosts: ["localhost", "127.0.0.1"],
    validity: now.valid(),
    issuer: root,
  });
  const device = await issueDevice({ tenant: "t", device: "lamp", validity: now.valid(), issuer: root });
  return { root, server, device };
}
