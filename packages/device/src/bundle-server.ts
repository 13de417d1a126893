import { credentialsOf, type Bundle, type Credential } from "@postern/core/bundle";

import { checkCredentials, checkPsk, type TlsCredentials } from "./credentials.ts";
import { CredentialsError } from "./errors.ts";
import { knockSettings, type KnockSettings } from "./knock.ts";
import { targetsOf, type Target } from "./target.ts";

/** Where a server is, whom to trust there, and how we prove who we are. */
export interface Server {
  readonly targets: readonly Target[];
  readonly tls: TlsCredentials;
  readonly username: string | undefined;
  /** Of a bundle: its password, or its token in the place of one. */
  readonly password: Buffer | undefined;
  readonly proof?: Credential["kind"];
  readonly knock: KnockSettings | undefined;
}

export interface BundleSource {
  /** How the user calls the bundle; for messages. */
  readonly name: string;
  /** The bundle's file, beside which a device without a clock keeps its counter. */
  readonly file: string | undefined;
  /** The private key (PEM) of a bundle that holds none, as the device keeps it. */
  readonly key?: string | undefined;
}

/**
 * What a bundle says of where the server is, whom to trust and who we are, by the strongest proof that it holds.
 * @throws {CredentialsError} when that cannot be used.
 */
export function serverOfBundle(bundle: Bundle, { name, file, key }: BundleSource): Server {
  const [credential] = credentialsOf(bundle);
  if (credential === undefined) throw new CredentialsError(`${name} holds nothing that proves who we are`);
  const { ca } = bundle;
  const common = {
    targets: targetsOf(bundle),
    username: undefined,
    password: undefined,
    proof: credential.kind,
    knock: knockSettings(bundle, file),
  };
  const nobody = { ca, cert: undefined, key: undefined };
  switch (credential.kind) {
    case "certificate": {
      const own = credential.key ?? key;
      if (own === undefined)
        throw new CredentialsError(`${name} holds no key, as the device keeps it: give it as well`);
      const tls = { ca, cert: credential.certificate, key: own };
      checkCredentials(tls, name);
      return { ...common, tls };
    }
    case "psk": {
      const psk = { identity: credential.identity, key: credential.key };
      checkPsk(psk, name);
      return { ...common, tls: { ...nobody, psk } };
    }
    case "token":
    case "password": {
      checkCredentials(nobody, name);
      const secret = credential.kind === "token" ? credential.token : credential.password;
      const password = Buffer.from(secret, "utf8");
      return { ...common, tls: nobody, username: credential.username, password };
    }
    default:
      return credential satisfies never;
  }
}
