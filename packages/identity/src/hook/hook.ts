import type { CredentialsRequest, ProvenIdentity } from "../authentication/credentials.ts";

/** What a user store outside says of somebody. */
export type HookAnswer =
  | { readonly kind: "allow"; readonly identity: ProvenIdentity; readonly untilMs: number }
  | { readonly kind: "deny" }
  /** It could not be asked, or its answer makes no sense: nobody is let in. */
  | { readonly kind: "unavailable"; readonly reason: string };

/** The secret that somebody presented. */
export type PresentedSecret = { readonly password: Uint8Array } | { readonly token: Uint8Array };

/** A user store outside. */
export interface Hook {
  ask(request: CredentialsRequest, secret: PresentedSecret): Promise<HookAnswer>;
}
