import { TopicRight } from "@postern/core/topic-right";

import { covers, intersects } from "./filter-language.ts";
import { rightsOnAll, rightsOnAny } from "./filter-rights.ts";
import type { Policy } from "./policy.ts";
import { RightsIndex } from "./rights-index.ts";
import { bindRule, type BoundRule, type Role, type SessionRule } from "./rules.ts";
import type { RoleLimits } from "./schema.ts";

type QoS = 0 | 1 | 2;

/** Topics whose rights one client has in memory; forgotten all at once when full. */
const cachedTopicsMax = 256;

/** What permissions are granted to. */
export interface Subject {
  readonly name: string;
  readonly roles: readonly string[];
  readonly groups: readonly string[];
  readonly tenant: string | undefined;
  /** `undefined` asks what the identity may do under some client id. */
  readonly client: string | undefined;
}

/** Limits of one identity, and of the roles it shares with others. */
export interface ClientLimits {
  readonly messagesPerSecondMax: number | undefined;
  readonly bytesPerSecondMax: number | undefined;
  readonly sessionsMax: number | undefined;
  readonly queuedBytesMax: number | undefined;
  readonly retainedMessagesMax: number | undefined;
  readonly retainedBytesMax: number | undefined;
  /** Rates that all identities with a role keep together. */
  readonly together: readonly {
    readonly role: string;
    readonly messagesPerSecondMax: number | undefined;
    readonly bytesPerSecondMax: number | undefined;
  }[];
}

/** The rules that say yes or no to something, and what they say. */
export interface Verdict {
  readonly permitted: boolean;
  /** Of the rules that matter, those that decided: one denial, or the fewest permissions found. Empty when nothing permits it. */
  readonly rules: readonly BoundRule[];
}

/** What one client may do, by the rules of its roles. Deny by default; a denial wins over every permission. */
export class ClientPermissions {
  readonly subject: Subject;
  readonly refusedPublish: "drop" | "disconnect";
  readonly checksResponseTopics: boolean;
  readonly limits: ClientLimits;
  /** Values of placeholders that were refused, in words, for the audit log. */
  readonly problems: readonly string[];
  readonly sessionRules: readonly SessionRule[];
  readonly #shared: OfRoles;
  /** The rules of each role that say something else for each client, and what they say for this one. */
  readonly #own: readonly (readonly BoundRule[])[];
  /** Of those, and of the rules that say the same for all. */
  readonly #allowed: readonly RightsIndex[];
  readonly #denied: readonly RightsIndex[];
  #rights: Map<string, number> | undefined = undefined;

  constructor(policy: Policy, subject: Subject) {
    const shared = ofRoles(policy, subject.roles);
    const { roles } = shared;
    this.#shared = shared;
    this.subject = subject;
    this.refusedPublish = policy.refusedPublish;
    this.checksResponseTopics = policy.checksResponseTopics;
    this.limits = shared.limits;
    this.sessionRules = shared.sessionRules;
    if (!shared.hasOpenRules) {
      this.problems = noProblems;
      this.#own = noRules;
      this.#allowed = shared.allowed;
      this.#denied = shared.denied;
      return;
    }
    const problems = new Set<string>();
    const values = { device: subject.name, client: subject.client, tenant: subject.tenant };
    this.#own = roles.map(({ open }) =>
      open.flatMap((rule) => bindRule(rule, values, subject.groups, (text) => problems.add(text))),
    );
    const own = byEffect(this.#own.flat());
    this.problems = [...problems];
    this.#allowed = [...shared.allowed, new RightsIndex(own.allow)];
    this.#denied = [...shared.denied, new RightsIndex(own.deny)];
  }

  /** Whether the client may have a session that outlives its connection. */
  get mayPersist(): boolean {
    return this.#shared.mayPersist;
  }

  /** The rights on one topic, as bits of `TopicRight`. */
  rightsOn(topic: string): number {
    const known = this.#rights?.get(topic);
    if (known !== undefined) return known;
    let rights = 0;
    for (const allowed of this.#allowed) rights |= allowed.rightsOn(topic);
    for (const denied of this.#denied) rights &= ~denied.rightsOn(topic);
    this.#rights ??= new Map();
    if (this.#rights.size >= cachedTopicsMax) this.#rights.clear();
    this.#rights.set(topic, rights);
    return rights;
  }

  /**
   * The highest QoS up to `qos` at which all that the filter matches may be subscribed to (and, for a shared subscription,
   * shared); `undefined` when there is none.
   */
  grantedQoS(filter: string, qos: QoS, shared: boolean): QoS | undefined {
    const levels = filter.split("/");
    const granted = rightsOnAll(this.#allowed, levels);
    const rights = granted === 0 ? 0 : granted & ~rightsOnAny(this.#denied, levels);
    const wanted = TopicRight.subscribe | (shared ? TopicRight.shared : 0);
    for (let level = qos; ; level = lower(level)) {
      if ((rights & (wanted << level)) === wanted << level) return level;
      if (level === 0) return undefined;
    }
  }

  /** Whether one right holds for all that a filter matches, and by which rules. Looks at every rule: for those who ask why. */
  judge(levels: readonly string[], right: number): Verdict {
    const { allow, deny } = byEffect(
      this.#shared.roles.flatMap(({ fixed }, index) => fixed.concat(this.#own[index] ?? [])),
    );
    const denial = deny.find(
      ({ rule, levels: denied }) => (rule.rights & right) !== 0 && intersects(denied, levels),
    );
    if (denial !== undefined) return { permitted: false, rules: [denial] };
    const relevant = allow.filter(({ rule }) => (rule.rights & right) !== 0);
    const one = relevant.find((grant) => covers([grant.levels], levels));
    if (one !== undefined) return { permitted: true, rules: [one] };
    if (
      !covers(
        relevant.map((grant) => grant.levels),
        levels,
      )
    )
      return { permitted: false, rules: [] };
    return { permitted: true, rules: relevant.filter((grant) => intersects(grant.levels, levels)) };
  }
}

function lower(qos: QoS): QoS {
  return qos === 2 ? 1 : 0;
}

/** What all clients with the same roles have in common: worked out once, and held once. */
interface OfRoles {
  readonly roles: readonly Role[];
  readonly limits: ClientLimits;
  readonly sessionRules: readonly SessionRule[];
  readonly mayPersist: boolean;
  /** Some rules say something else for each client. */
  readonly hasOpenRules: boolean;
  /** Of the rules that say the same for all. */
  readonly allowed: readonly RightsIndex[];
  readonly denied: readonly RightsIndex[];
}

const noProblems: readonly string[] = [];
const noRules: readonly (readonly BoundRule[])[] = [];
/** By policy, and by the names of the roles, of which there are few combinations. */
const known = new WeakMap<Policy, Map<string, OfRoles>>();
const combinationsMax = 1_024;

function ofRoles(policy: Policy, names: readonly string[]): OfRoles {
  let combinations = known.get(policy);
  if (combinations === undefined) {
    combinations = new Map();
    known.set(policy, combinations);
  }
  const key = JSON.stringify(names);
  const found = combinations.get(key);
  if (found !== undefined) return found;
  const roles = names.flatMap((name) => policy.roles.get(name) ?? []);
  const { allow, deny } = byEffect(roles.flatMap(({ fixed }) => fixed));
  const sessionRules = roles.flatMap(({ persistentSession }) => persistentSession);
  const made = {
    roles,
    limits: limitsOf(roles),
    sessionRules,
    mayPersist:
      sessionRules.some(({ effect }) => effect === "allow") &&
      !sessionRules.some(({ effect }) => effect === "deny"),
    hasOpenRules: roles.some(({ open }) => open.length > 0),
    allowed: [new RightsIndex(allow)],
    denied: [new RightsIndex(deny)],
  };
  if (combinations.size >= combinationsMax) combinations.clear();
  combinations.set(key, made);
  return made;
}

function byEffect(rules: readonly BoundRule[]): Readonly<Record<"allow" | "deny", readonly BoundRule[]>> {
  return {
    allow: rules.filter(({ rule }) => rule.effect === "allow"),
    deny: rules.filter(({ rule }) => rule.effect === "deny"),
  };
}

/** Every limit of every role holds: the lowest counts. */
function limitsOf(roles: readonly Role[]): ClientLimits {
  const lowest = (name: Exclude<keyof RoleLimits, "together">): number | undefined => {
    const given = roles.flatMap(({ limits }) => limits[name] ?? []);
    return given.length === 0 ? undefined : Math.min(...given);
  };
  return {
    messagesPerSecondMax: lowest("messagesPerSecondMax"),
    bytesPerSecondMax: lowest("bytesPerSecondMax"),
    sessionsMax: lowest("sessionsMax"),
    queuedBytesMax: lowest("queuedBytesMax"),
    retainedMessagesMax: lowest("retainedMessagesMax"),
    retainedBytesMax: lowest("retainedBytesMax"),
    together: roles.flatMap(({ name, limits: { together } }) =>
      together === undefined
        ? []
        : [
            {
              role: name,
              messagesPerSecondMax: together.messagesPerSecondMax,
              bytesPerSecondMax: together.bytesPerSecondMax,
            },
          ],
    ),
  };
}
