import { ClientPermissions, type Subject } from "./client-permissions.ts";
import { denyAll, type Policy } from "./policy.ts";

/** Identities whose rights as publishers are in memory; forgotten all at once when full. */
const publishersMax = 10_000;

/** The role of whoever comes in without proof. */
const anonymousRole = "anonymous";

/** What somebody is, as far as permissions depend on it. */
export interface Attributes {
  readonly roles: readonly string[];
  readonly groups: readonly string[];
  readonly tenant: string | undefined;
}

/** Says what the names of identities stand for. */
export interface AttributeSource {
  /** `undefined` for a name that is not known (any more). */
  attributesOf(name: string): Attributes | undefined;
  /** Whether somebody else may say what the identity's roles and groups are. */
  isForeign(name: string): boolean;
}

/** Who asks; roles and groups come along for identities that the source does not know. */
export interface AuthorizedIdentity {
  readonly name: string;
  readonly anonymous: boolean;
  readonly roles?: readonly string[];
  readonly groups?: readonly string[];
}

/** An identity whose roles and groups somebody else says. */
export interface VouchedIdentity {
  readonly name: string;
  readonly roles: readonly string[];
  readonly groups: readonly string[];
}

const nothing: Attributes = { roles: [], groups: [], tenant: undefined };
const anonymous: Attributes = { roles: [anonymousRole], groups: [], tenant: undefined };

/** Works out what clients may do, by the policy and the roles that hold at the moment. */
export class PolicyAuthorizer {
  readonly #source: AttributeSource;
  readonly #vouched: (identity: VouchedIdentity) => void;
  #policy: Policy = denyAll;
  readonly #publishers = new Map<string, ClientPermissions>();

  /** @param vouched Is told the roles and groups of identities that the source does not know. */
  constructor(source: AttributeSource, vouched: (identity: VouchedIdentity) => void = () => {}) {
    this.#source = source;
    this.#vouched = vouched;
  }

  get policy(): Policy {
    return this.#policy;
  }

  /** From now on another policy holds. Whoever was answered before must ask again. */
  use(policy: Policy): void {
    this.#policy = policy;
    this.forget();
  }

  /** Roles or groups of an identity, or of all, are others than before. */
  forget(identity?: string): void {
    if (identity === undefined) this.#publishers.clear();
    else this.#publishers.delete(identity);
  }

  permissionsOf(request: {
    readonly identity: AuthorizedIdentity;
    readonly clientId: string;
  }): ClientPermissions {
    return new ClientPermissions(this.#policy, this.#subject(request.identity, request.clientId));
  }

  publisherRights(name: string, topic: string): number {
    let permissions = this.#publishers.get(name);
    if (permissions === undefined) {
      permissions = new ClientPermissions(
        this.#policy,
        this.#subject({ name, anonymous: name === "" }, undefined),
      );
      if (this.#publishers.size >= publishersMax) this.#publishers.clear();
      this.#publishers.set(name, permissions);
    }
    return permissions.rightsOn(topic);
  }

  get purgeRetainedAfterMs(): number {
    return this.#policy.purgeRetainedAfterMs;
  }

  #subject(identity: AuthorizedIdentity, client: string | undefined): Subject {
    const { name, roles, groups = [] } = identity;
    if (identity.anonymous) return { name, client, ...anonymous };
    if (roles !== undefined && this.#source.isForeign(name)) {
      this.#vouched({ name, roles, groups });
      return { name, client, roles, groups, tenant: undefined };
    }
    return { name, client, ...(this.#source.attributesOf(name) ?? nothing) };
  }
}
