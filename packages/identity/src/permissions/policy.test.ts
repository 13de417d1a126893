import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { TopicRight } from "@postern/core/topic-right";

import { PolicyAuthorizer, type Attributes } from "./authorizer.ts";
import type { ClientPermissions } from "./client-permissions.ts";
import { defaultPermissions } from "./default-file.ts";
import { denyAll, parsePolicy, type Policy } from "./policy.ts";

function policyOf(text: string): Policy {
  const parsed = parsePolicy(text);
  if (parsed.kind === "problem") return assert.fail(`${parsed.problem.line}: ${parsed.problem.text}`);
  return parsed.policy;
}

function refusal(text: string): string {
  const parsed = parsePolicy(text);
  if (parsed.kind === "policy") return assert.fail(`was accepted: ${text}`);
  return `${parsed.problem.line}: ${parsed.problem.text}`;
}

function clientOf(
  text: string,
  { name = "dev", client = "c1", ...attributes }: Partial<Attributes> & { name?: string; client?: string },
): ClientPermissions {
  const authorizer = new PolicyAuthorizer({
    attributesOf: () => ({ roles: ["r"], groups: [], tenant: "acme", ...attributes }),
    isForeign: () => false,
  });
  authorizer.use(policyOf(text));
  return authorizer.permissionsOf({ identity: { name, anonymous: false }, clientId: client });
}

const role = (rules: string): string => `roles:\n  r:\n    rules:\n${rules.replace(/^/gm, "      ")}\n`;

function mayPublish(permissions: ClientPermissions, topic: string, qos: 0 | 1 | 2 = 0): boolean {
  return (permissions.rightsOn(topic) & (TopicRight.publish << qos)) !== 0;
}

describe("permissions file", () => {
  it("says in one sentence what is wrong, in which line, and what was probably meant", () => {
    for (const [text, message] of [
      ["rolls: {}\n", `1: unknown key "rolls"; did you mean "roles"?`],
      [
        role("- topic: [a]\n  allow: [publish]"),
        `4: unknown key "topic" under roles.r.rules[0]; did you mean "topics"?`,
      ],
      [
        role("- topics: [a]\n  allow: [publsh]"),
        `5: roles.r.rules[0].allow[0] must be one of publish, subscribe, will, retain, persistentSession, shared, not "publsh"; did you mean "publish"?`,
      ],
      [
        role("- topics: [a/#/b]\n  allow: [publish]"),
        `4: roles.r.rules[0].topics[0] must be a topic filter: + fills a whole level, # the whole last one, not "a/#/b"`,
      ],
      [
        role("- topics: ['a/${clientid}']\n  allow: [publish]"),
        '4: roles.r.rules[0].topics[0] must name one of ${device}, ${client}, ${group}, ${tenant}, not "a/${clientid}"',
      ],
      [
        role("- topics: ['$share/g/a']\n  allow: [subscribe]"),
        `4: roles.r.rules[0].topics[0] must be the filter alone, with shared under allow, not "$share/g/a"`,
      ],
      [role("- topics: [a]"), `4: roles.r.rules[0] must have either allow or deny`],
      [
        role("- topics: [a]\n  allow: [publish]\n  deny: [publish]"),
        `4: roles.r.rules[0] must have either allow or deny`,
      ],
      [role("- allow: [publish]"), `4: roles.r.rules[0] must name topics (only persistentSession has none)`],
      [
        role("- topics: ['$SYS/#']\n  allow: [publish]"),
        `4: roles.r.rules[0] must not allow writing under $SYS, which is the server's own`,
      ],
      [role("- topics: [a]\n  allow: [publish]\n  qos: [3]"), `6: roles.r.rules[0].qos[0] must be 0, 1 or 2`],
      ["roles: { r: { limit: {} } }\n", `1: unknown key "limit" under roles.r; did you mean "limits"?`],
      ["roles: { a/b: {} }\n", `1: roles.a/b`],
      ["roles: [\n", "2: not readable as YAML"],
    ] as const)
      assert.ok(refusal(text).startsWith(message), `${refusal(text)}\nis not\n${message}`);
  });

  it("permits nothing when it is empty or has no roles (CVE-2018-12550)", () => {
    for (const text of ["", "# nothing\n", "roles:\n", "refusedPublish: disconnect\nroles: {}\n"])
      assert.equal(policyOf(text), denyAll);
    const permissions = clientOf("", { roles: ["r", "administrator"] });
    assert.equal(permissions.rightsOn("a"), 0);
    assert.equal(permissions.grantedQoS("a", 0, false), undefined);
    assert.equal(permissions.mayPersist, false);
  });

  it("is refused with a sentence, whatever is in it, and never half read", () => {
    for (const text of [
      "a: &a [*a]\nroles: *a\n",
      `x: &a [1,1,1,1,1,1,1,1,1]\n${"bcdefghij".replace(/./g, (name) => `${name}: &${name} [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n`)}`,
      "roles: { __proto__: { rules: [] } }\n",
      "roles: { constructor: { rules: [{ topics: [a], allow: [publish] }], limits: { sessionsMax: 0 } } }\n",
      "roles:\n  r: {}\n  r: {}\n",
      "- a\n",
      "roles: !!js/function x\n",
      role("- topics: ['a\\0b']\n  allow: [publish]").replace("'a\\0b'", '"a\\0b"'),
      role(`- topics: ["${"a/".repeat(40_000)}"]\n  allow: [publish]`),
      role("- topics: [a]\n  allow: []"),
      role("- topics: []\n  allow: [publish]"),
      role("- topics: ['${device']\n  allow: [publish]"),
      role("- topics: ['${device}+/a']\n  allow: [publish]"),
      role("- topics: ['a/${device}#']\n  allow: [publish]"),
      "\u0000",
      "roles: {\n",
    ])
      assert.match(refusal(text), /^\d+: \S/, text.slice(0, 80));
  });

  it("is good as the first start writes it", () => {
    assert.deepEqual([...policyOf(defaultPermissions).roles.keys()], ["administrator", "device", "observer"]);
    const device = clientOf(defaultPermissions, { roles: ["device"], name: "sensor-1" });
    assert.ok(mayPublish(device, "devices/sensor-1/state", 2));
    assert.ok(!mayPublish(device, "devices/sensor-2/state") && !mayPublish(device, "devices"));
    assert.equal(device.grantedQoS("devices/#", 0, false), undefined);
    assert.equal(device.grantedQoS("$keys/sensor-1", 1, false), 1);
    assert.equal(device.grantedQoS("$keys/sensor-2", 1, false), undefined);
    assert.ok(!mayPublish(device, "$keys/sensor-1") && !mayPublish(device, "$keys/sensor-2/next"));
    assert.ok(mayPublish(device, "$keys/sensor-1/next", 1));
    const administrator = clientOf(defaultPermissions, { roles: ["administrator"] });
    assert.equal(administrator.grantedQoS("$SYS/#", 1, false), 1);
    assert.ok(mayPublish(administrator, "$keys/sensor-1", 1));
    assert.ok(!mayPublish(administrator, "$SYS/broker/uptime") && !mayPublish(administrator, "$CONTROL/x"));
    const observer = clientOf(defaultPermissions, { roles: ["observer"] });
    assert.equal(observer.grantedQoS("#", 2, true), 2);
    assert.ok(!mayPublish(observer, "a") && observer.grantedQoS("$SYS/#", 0, false) === undefined);
  });
});

describe("rules", () => {
  it("deny by default, and to whoever has no role", () => {
    const text = role("- topics: [a]\n  allow: [publish]");
    assert.ok(mayPublish(clientOf(text, {}), "a") && !mayPublish(clientOf(text, {}), "b"));
    for (const roles of [[], ["other"]]) assert.equal(clientOf(text, { roles }).rightsOn("a"), 0);
  });

  it("tell operations and QoS levels apart (thesis 3.3)", () => {
    const text = role(
      "- topics: [a]\n  allow: [publish]\n  qos: [0, 1]\n- topics: [a]\n  allow: [retain]\n  qos: [1]\n- topics: [w]\n  allow: [will]",
    );
    const permissions = clientOf(text, {});
    assert.ok(mayPublish(permissions, "a", 1) && !mayPublish(permissions, "a", 2));
    const rights = permissions.rightsOn("a");
    assert.ok((rights & (TopicRight.retain << 1)) !== 0 && (rights & (TopicRight.retain << 0)) === 0);
    assert.ok((permissions.rightsOn("w") & TopicRight.will) !== 0 && !mayPublish(permissions, "w"));
  });

  it("grant a subscription at the highest QoS that is allowed, never above what was asked for", () => {
    const permissions = clientOf(role("- topics: [a/#]\n  allow: [subscribe]\n  qos: [0, 1]"), {});
    assert.equal(permissions.grantedQoS("a/b", 2, false), 1);
    assert.equal(permissions.grantedQoS("a/b", 0, false), 0);
    const atLeastOnce = clientOf(role("- topics: [a/#]\n  allow: [subscribe]\n  qos: [1, 2]"), {});
    assert.equal(atLeastOnce.grantedQoS("a/b", 0, false), undefined);
  });

  it("refuse a filter that is wider than what is granted, and see it covered by several rules together", () => {
    const permissions = clientOf(role("- topics: [a, a/+, a/+/+/#, b/#]\n  allow: [subscribe]"), {});
    assert.equal(permissions.grantedQoS("a/#", 0, false), 0);
    for (const filter of ["#", "+/#", "+", "c/#", "$SYS/#", "+/b"])
      assert.equal(permissions.grantedQoS(filter, 0, false), undefined, filter);
  });

  it("need shared and subscribe for a shared subscription", () => {
    const text = role("- topics: [a/#]\n  allow: [subscribe]\n- topics: [a/b]\n  allow: [shared]");
    const permissions = clientOf(text, {});
    assert.equal(permissions.grantedQoS("a/b", 0, true), 0);
    assert.equal(permissions.grantedQoS("a/c", 0, true), undefined);
    assert.equal(clientOf(role("- topics: [a]\n  allow: [shared]"), {}).grantedQoS("a", 0, true), undefined);
  });

  it("let a denial win, and refuse the filters that touch it", () => {
    const text = role(
      "- topics: ['#']\n  allow: [publish, subscribe]\n- topics: [secret/#]\n  deny: [subscribe]",
    );
    const permissions = clientOf(text, {});
    assert.equal(permissions.grantedQoS("#", 0, false), undefined);
    assert.equal(permissions.grantedQoS("+/x", 0, false), undefined);
    assert.equal(permissions.grantedQoS("open/#", 0, false), 0);
    assert.ok(mayPublish(permissions, "secret/x"));
    assert.equal(permissions.rightsOn("secret/x") & TopicRight.subscribe, 0);
  });

  it("keep sessions only where persistentSession is allowed and not denied", () => {
    assert.ok(clientOf(role("- allow: [persistentSession]"), {}).mayPersist);
    assert.ok(!clientOf(role("- topics: [a]\n  allow: [subscribe]"), {}).mayPersist);
    assert.ok(!clientOf(role("- allow: [persistentSession]\n- deny: [persistentSession]"), {}).mayPersist);
  });
});

describe("placeholders", () => {
  const text = role(
    "- topics: ['${tenant}/${device}/${client}/up', 'groups/${group}/#', '${client}/x']\n  allow: [publish, subscribe]",
  );

  it("stand for the client's values, a group for each", () => {
    const permissions = clientOf(text, { groups: ["g1", "g2"] });
    for (const topic of ["acme/dev/c1/up", "groups/g1/a", "groups/g2", "c1/x"])
      assert.ok(mayPublish(permissions, topic), topic);
    for (const topic of ["acme/dev/c2/up", "groups/g3/a", "groups", "acme/+/c1/up"])
      assert.ok(!mayPublish(permissions, topic), topic);
    assert.deepEqual(permissions.problems, []);
    assert.equal(clientOf(text, {}).grantedQoS("groups/#", 0, false), undefined);
  });

  it("grant nothing and say so when a value holds + # / NUL, is empty, or makes a topic of the server's own", () => {
    for (const client of ["+", "#", "a/b", "tenantA/+", "a\0b", "", "$SYS", "$share"]) {
      const permissions = clientOf(text, { client, groups: ["g1"] });
      assert.equal(permissions.rightsOn(`${client}/x`), 0, client);
      assert.equal(permissions.rightsOn("other/x"), 0, client);
      assert.equal(permissions.grantedQoS("+/x", 0, false), undefined, client);
      assert.equal(permissions.grantedQoS("acme/dev/#", 0, false), undefined, client);
      assert.ok(permissions.problems.length > 0, client);
      assert.ok(mayPublish(permissions, "groups/g1/a"), "the other rules stay");
    }
  });

  it("deny more, not less, when a denial cannot be bound", () => {
    const denial = role(
      "- topics: ['#']\n  allow: [publish]\n- topics: ['private/${client}/x']\n  deny: [publish]",
    );
    const permissions = clientOf(denial, { client: "a/b" });
    assert.ok(!mayPublish(permissions, "private/a/b/x") && !mayPublish(permissions, "private/z"));
    assert.ok(mayPublish(permissions, "public"));
  });

  it("ask for an identity under whatever client id what any of its clients could do", () => {
    const authorizer = new PolicyAuthorizer({
      attributesOf: () => ({ roles: ["r"], groups: [], tenant: "acme" }),
      isForeign: () => false,
    });
    authorizer.use(policyOf(text));
    assert.notEqual(authorizer.publisherRights("dev", "acme/dev/anything/up"), 0);
    assert.equal(authorizer.publisherRights("dev", "acme/other/anything/up"), 0);
  });
});

describe("attributes", () => {
  const text =
    "roles: { anonymous: { rules: [{ topics: [pub], allow: [publish] }] }, hook: { rules: [{ topics: [h], allow: [publish] }] } }\n";

  it("come from the registry, else from who vouched for the identity; nobody becomes anonymous by having no entry", () => {
    const authorizer = new PolicyAuthorizer({
      attributesOf: (name) => (name === "dev" ? { roles: [], groups: [], tenant: "t" } : undefined),
      isForeign: (name) => name !== "dev",
    });
    authorizer.use(policyOf(text));
    const of = (identity: { name: string; anonymous: boolean; roles?: string[] }): ClientPermissions =>
      authorizer.permissionsOf({ identity, clientId: "c" });
    assert.ok(mayPublish(of({ name: "", anonymous: true }), "pub"));
    assert.ok(mayPublish(of({ name: "user", anonymous: false, roles: ["hook"] }), "h"));
    assert.equal(of({ name: "user", anonymous: false }).rightsOn("pub"), 0);
    assert.equal(
      of({ name: "dev", anonymous: false, roles: ["hook"] }).rightsOn("h"),
      0,
      "the registry goes first",
    );
  });
});

describe("limits", () => {
  it("hold for every role: the lowest counts, and those that roles share stay apart", () => {
    const limits = clientOf(
      "roles:\n  r: { limits: { messagesPerSecondMax: 10, sessionsMax: 2, together: { bytesPerSecondMax: 5 } } }\n  s: { limits: { messagesPerSecondMax: 3, retainedMessagesMax: 0 } }\n",
      { roles: ["r", "s"] },
    ).limits;
    assert.deepEqual(
      [limits.messagesPerSecondMax, limits.sessionsMax, limits.retainedMessagesMax, limits.queuedBytesMax],
      [3, 2, 0, undefined],
    );
    assert.deepEqual(limits.together, [{ role: "r", messagesPerSecondMax: undefined, bytesPerSecondMax: 5 }]);
  });
});
