import { isTopicName } from "@postern/mqtt/topics";
import { parseYaml, type YamlProblem } from "@postern/core/yaml-document";
import { isDeviceName } from "@postern/pki/device-uri";
import type { SealMode } from "@postern/seal/envelope/structure";
import { z } from "zod";

import { PolicyAuthorizer, type Attributes } from "./authorizer.ts";
import {
  explain,
  explainDemand,
  questionProblem,
  type ExplainedDemand,
  type Explanation,
  type Question,
} from "./explain.ts";
import type { Policy } from "./policy.ts";
import { delivery, operations, qosLevel, requiredModes } from "./schema.ts";

const name = z.string().refine(isDeviceName, { error: "must be a name" });
const operationList = z.array(z.enum(operations)).min(1);

const expectationSchema = z
  .strictObject({
    /** An anonymous client unless given. */
    device: name.optional(),
    client: z.string().optional(),
    may: operationList.optional(),
    mayNot: operationList.optional(),
    topics: z.array(z.string()).min(1).optional(),
    qos: z.array(qosLevel).min(1).optional(),
  })
  .refine(({ may, mayNot }) => (may === undefined) !== (mayNot === undefined), {
    error: "must have either may or mayNot",
  });

/** What topics demand of payloads, whoever publishes there. */
const demandSchema = z.strictObject({
  topics: z.array(z.string().refine(isTopicName, { error: "must be the name of a topic" })).min(1),
  require: requiredModes,
  /** Looked at where they are given. */
  maxAgeSeconds: z.int().min(1).optional(),
  deliver: delivery.optional(),
});

const expectationsSchema = z.strictObject({
  /** The permissions file, relative to this one. */
  permissions: z.string().min(1).optional(),
  devices: z
    .record(
      name,
      z.strictObject({
        roles: z.array(name).optional(),
        groups: z.array(name).optional(),
        tenant: name.optional(),
      }),
    )
    .optional(),
  expect: z.array(expectationSchema).min(1).optional(),
  payloads: z.array(demandSchema).min(1).optional(),
});

/** One thing that somebody should or should not be able to do. */
export interface Expectation {
  /** Counted from 1, in the file of expectations. */
  readonly line: number;
  /** `undefined` for an anonymous client. */
  readonly device: string | undefined;
  readonly client: string;
  readonly question: Question;
  readonly permitted: boolean;
}

/** What a topic should demand of payloads; nothing with no modes. */
export interface ExpectedDemand {
  /** Counted from 1, in the file of expectations. */
  readonly line: number;
  readonly topic: string;
  readonly modes: readonly SealMode[];
  readonly maxAgeSeconds?: number | undefined;
  readonly deliver?: "plain" | "sealed" | undefined;
}

export interface Expectations {
  readonly permissions: string | undefined;
  readonly devices: ReadonlyMap<string, Attributes>;
  readonly list: readonly Expectation[];
  readonly payloads: readonly ExpectedDemand[];
}

export type ParsedExpectations =
  | { readonly kind: "expectations"; readonly expectations: Expectations }
  | { readonly kind: "problem"; readonly problem: YamlProblem };

/** Reads a table of expectations; each line of it may stand for several: every operation, topic and QoS it names. */
export function parseExpectations(text: string): ParsedExpectations {
  const result = parseYaml(text, { schema: expectationsSchema, subject: "the file of expectations" });
  if (result.kind === "problem") return result;
  const { value, lineAt } = result;
  const devices = new Map(
    Object.entries(value.devices ?? {}).map(([device, { roles = [], groups = [], tenant = "default" }]) => [
      device,
      { roles, groups, tenant },
    ]),
  );
  const list: Expectation[] = [];
  for (const [index, { device, client, may, mayNot, topics, qos }] of (value.expect ?? []).entries()) {
    const path = ["expect", index];
    const problem = (text: string, key: string): ParsedExpectations => ({
      kind: "problem",
      problem: {
        text: `expect[${index}] ${text}`,
        line: lineAt([...path, key]),
        key: `expect[${index}].${key}`,
      },
    });
    if (device !== undefined && !devices.has(device))
      return problem(`is about ${device}, who is not under devices`, "device");
    for (const operation of may ?? mayNot ?? []) {
      const asked = operation === "persistentSession" ? [undefined] : (topics ?? [undefined]);
      for (const [position, topic] of asked.entries()) {
        const question: Omit<Question, "qos"> = { operation, topic };
        const wrong = questionProblem({ ...question, qos: 0 });
        if (wrong !== undefined)
          return problem(`cannot be asked: ${wrong}`, may === undefined ? "mayNot" : "may");
        const line = lineAt(topic === undefined ? path : [...path, "topics", position]);
        const about = { line, device, client: client ?? device ?? "client", permitted: may !== undefined };
        const levels = topic === undefined || qos === undefined ? ([0] as const) : qos;
        for (const level of levels) list.push({ ...about, question: { ...question, qos: level } });
      }
    }
  }
  const payloads = (value.payloads ?? []).flatMap(({ topics, require, ...more }, index) =>
    topics.map((topic, position) => ({
      ...more,
      topic,
      line: lineAt(["payloads", index, "topics", position]),
      modes: [require].flat().filter((mode) => mode !== "none"),
    })),
  );
  if (list.length + payloads.length === 0)
    return {
      kind: "problem",
      problem: { text: "it expects nothing: it must have expect, payloads or both" },
    };
  return { kind: "expectations", expectations: { permissions: value.permissions, devices, list, payloads } };
}

export interface TestedExpectation {
  readonly expectation: Expectation;
  readonly met: boolean;
  readonly explanation: Explanation;
}

/** Holds a policy to a table of expectations. What is subscribed to at a lower QoS than asked for is not what was expected. */
export function testPolicy(policy: Policy, { devices, list }: Expectations): TestedExpectation[] {
  const authorizer = new PolicyAuthorizer({
    attributesOf: (device) => devices.get(device),
    isForeign: () => false,
  });
  authorizer.use(policy);
  return list.map((expectation) => {
    const { device, client, question } = expectation;
    const identity = { name: device ?? "", anonymous: device === undefined };
    const explanation = explain(authorizer.permissionsOf({ identity, clientId: client }), policy, question);
    const permitted = explanation.permitted && explanation.grantedQoS === undefined;
    return { expectation, met: permitted === expectation.permitted, explanation };
  });
}

export interface TestedDemand {
  readonly expected: ExpectedDemand;
  readonly met: boolean;
  /** The entry that counts there; `undefined` where nothing is demanded. */
  readonly found: ExplainedDemand | undefined;
}

/** Holds what a policy demands of payloads to a table of expectations. */
export function testDemands(policy: Policy, { payloads }: Expectations): TestedDemand[] {
  return payloads.map((expected) => {
    const found = explainDemand(policy, expected.topic);
    const { modes, maxAgeSeconds, deliver } = expected;
    const met =
      sameModes(modes, found?.modes ?? []) &&
      (maxAgeSeconds === undefined || maxAgeSeconds === found?.maxAgeSeconds) &&
      (deliver === undefined || deliver === found?.deliver);
    return { expected, met, found };
  });
}

function sameModes(a: readonly SealMode[], b: readonly SealMode[]): boolean {
  return a.every((mode) => b.includes(mode)) && b.every((mode) => a.includes(mode));
}
