import { TopicRight } from "@postern/core/topic-right";

import { covers, intersects } from "./filter-language.ts";
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
  readonly allows: readonly BoundRule[];
  readonly denies: readonly BoundRule[];
  readonly sessionRules: readonly SessionRule[];
  readonly #shared: OfRoles;
  /** Of the rules that say something else for each client; `undefined` when there are none. */
  readonly #allowed: RightsIndex | undefined;
  readonly #denied: RightsIndex | undefined;
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
      this.allows = shared.allows;
      this.denies = shared.denies;
      this.#allowed = undefined;
      this.#denied = undefined;
      return;
    }
    const problems = new Set<string>();
    const own = new Set<BoundRule>();
    const rules = roles.flatMap((role) =>
      role.fixed.concat(
        role.open.flatMap((rule) => {
          const bound = bindRule(
            rule,
            { device: subject.name, client: subject.client, tenant: subject.tenant },
            subject.groups,
            (text) => problems.add(text),
          );
          for (const each of bound) own.add(each);
          return bound;
        }),
      ),
    );
    this.problems = [...problems];
    this.allows = rules.filter(({ rule }) => rule.effect === "allow");
    this.denies = rules.filter(({ rule }) => rule.effect === "deny");
    this.#allowed = new RightsIndex(this.allows.filter((rule) => own.has(rule)));
    this.#denied = new RightsIndex(this.denies.filter((rule) => own.has(rule)));
  }

  /** Whether the client may have a session that outlives its connection. */
  get mayPersist(): boolean {
    return (
      this.sessionRules.some(({ effect }) => effect === "allow") &&
      !this.sessionRules.some(({ effect }) => effect === "deny")
    );
  }

  /** The rights on one topic, as bits of `TopicRight`. */
  rightsOn(topic: string): number {
    const known = this.#rights?.get(topic);
    if (known !== undefined) return known;
    const { allowed, denied } = this.#shared;
    const granted = allowed.rightsOn(topic) | (this.#allowed?.rightsOn(topic) ?? 0);
    const rights = granted & ~denied.rightsOn(topic) & ~(this.#denied?.rightsOn(topic) ?? 0);
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
    for (let level = qos; ; level = lower(level)) {
      const rights = [TopicRight.subscribe, ...(shared ? [TopicRight.shared] : [])];
      if (rights.every((right) => this.judge(levels, right << level).permitted)) return level;
      if (level === 0) return undefined;
    }
  }

  /** Whether one right holds for all that a filter matches, and by which rules. */
  judge(levels: readonly string[], right: number): Verdict {
    const denial = this.denies.find(
      ({ rule, levels: denied }) => (rule.rights & right) !== 0 && intersects(denied, levels),
    );
    if (denial !== undefined) return { permitted: false, rules: [denial] };
    const relevant = this.allows.filter(({ rule }) => (rule.rights & right) !== 0);
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
  /** Some rules say something else for each client. */
  readonly hasOpenRules: boolean;
  /** The rules that say the same for all. */
  readonly allows: readonly BoundRule[];
  readonly denies: readonly BoundRule[];
  readonly allowed: RightsIndex;
  readonly denied: RightsIndex;
}

const noProblems: readonly string[] = [];
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
  const rules = roles.flatMap(({ fixed }) => fixed);
  const allows = rules.filter(({ rule }) => rule.effect === "allow");
  const denies = rules.filter(({ rule }) => rule.effect === "deny");
  const made = {
    roles,
    limits: limitsOf(roles),
    sessionRules: roles.flatMap(({ persistentSession }) => persistentSession),
    hasOpenRules: roles.some(({ open }) => open.length > 0),
    allows,
    denies,
    allowed: new RightsIndex(allows),
    denied: new RightsIndex(denies),
  };
  if (combinations.size >= combinationsMax) combinations.clear();
  combinations.set(key, made);
  return made;
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
