import { parseYaml, type YamlProblem } from "@postern/core/yaml-document";
import { isDeviceName } from "@postern/pki/device-uri";
import { z } from "zod";

import { PolicyAuthorizer, type Attributes } from "./authorizer.ts";
import { explain, questionProblem, type Explanation, type Question } from "./explain.ts";
import type { Policy } from "./policy.ts";
import { operations, qosLevel } from "./schema.ts";

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
  expect: z.array(expectationSchema).min(1),
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

export interface Expectations {
  readonly permissions: string | undefined;
  readonly devices: ReadonlyMap<string, Attributes>;
  readonly list: readonly Expectation[];
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
  for (const [index, { device, client, may, mayNot, topics, qos }] of value.expect.entries()) {
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
  return { kind: "expectations", expectations: { permissions: value.permissions, devices, list } };
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
