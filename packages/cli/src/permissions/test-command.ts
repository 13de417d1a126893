import { readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

import { errorText } from "@postern/core/errors";
import { decodeYamlText, type YamlProblem } from "@postern/core/yaml-document";
import { PermissionsError } from "@postern/identity/errors";
import {
  parseExpectations,
  testDemands,
  testPolicy,
  type TestedDemand,
  type TestedExpectation,
} from "@postern/identity/permissions/expectations";
import { readPolicyFile } from "@postern/identity/permissions/policy-file";

import type { CommandContext } from "../context.ts";
import { ExitCode, UsageError } from "../errors.ts";
import { describeDemand, describeModes, describeQuestion, describeRule } from "./render-explanation.ts";

const subject = "the file of expectations";

function readText(path: string, file: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (thrown) {
    throw new UsageError(`cannot read ${file}: ${errorText(thrown)}`, { cause: thrown });
  }
  const decoded = decodeYamlText(bytes, subject);
  if (decoded.kind === "problem") throw expectationsError(file, decoded.problem);
  return decoded.text;
}

function expectationsError(file: string, { text, line, cause }: YamlProblem): UsageError {
  return new UsageError(`${file}${line === undefined ? "" : `:${line}`}: ${text}`, { cause });
}

function describeFailure(
  { expectation, explanation }: TestedExpectation,
  file: string,
  policy: string,
): string {
  const { line, device, question, permitted } = expectation;
  const who = device ?? "anonymous";
  const what = describeQuestion(question);
  const { rules, reason, grantedQoS, payload } = explanation;
  const lower = grantedQoS === undefined ? "" : ` (QoS ${grantedQoS} is granted)`;
  const first = permitted
    ? `${file}:${line}: ${who} should be able to ${what}, and may not${lower}${reason === undefined ? "" : `: ${reason}`}`
    : `${file}:${line}: ${who} should not be able to ${what}, and may`;
  const lines = [
    ...rules.map((rule) => describeRule(rule, policy)),
    ...(payload === undefined ? [] : [describeDemand(payload, policy)]),
  ];
  return [first, ...lines.map((line) => `  ${line}`)].join("\n");
}

function describeFailedDemand({ expected, found }: TestedDemand, file: string, policy: string): string {
  const { line, topic, modes } = expected;
  const wanted = modes.length === 0 ? "need not be sealed" : `must be ${describeModes(expected)}`;
  const because =
    found === undefined ? `no entry of ${policy} demands anything there` : describeDemand(found, policy);
  return `${file}:${line}: it is not so that payloads on ${topic} ${wanted}\n  ${because}`;
}

/** `postern permissions test`: exit code 0 when every expectation is met, 1 otherwise. @throws {PosternError} */
export function runTest(
  file: string,
  options: { readonly permissions?: string; readonly json?: boolean },
  context: CommandContext,
): void {
  const { cwd, stdout } = context;
  const path = resolve(cwd, file);
  const parsed = parseExpectations(readText(path, file));
  if (parsed.kind === "problem") throw expectationsError(file, parsed.problem);
  const { expectations } = parsed;
  const policyPath =
    options.permissions === undefined
      ? join(dirname(path), expectations.permissions ?? "permissions.yaml")
      : resolve(cwd, options.permissions);
  const policyFile = relative(cwd, policyPath);
  const { state, policy } = readPolicyFile(policyPath, policyFile);
  if (state === "missing") throw new PermissionsError(policyFile, { text: "there is no such file" });
  const results = testPolicy(policy, expectations);
  const failed = results.filter(({ met }) => !met);
  const demands = testDemands(policy, expectations);
  const failedDemands = demands.filter(({ met }) => !met);
  const count = results.length + demands.length;
  const failedCount = failed.length + failedDemands.length;
  if (failedCount > 0) context.exitCode = ExitCode.failed;
  if (options.json === true) {
    const failures = [
      ...failed.map(({ expectation, explanation }) => ({ ...expectation, explanation })),
      ...failedDemands.map(({ expected, found }) => ({ ...expected, found: found ?? null })),
    ];
    stdout.write(`${JSON.stringify({ file, permissions: policyFile, expectations: count, failures })}\n`);
    return;
  }
  for (const result of failed) stdout.write(`${describeFailure(result, file, policyFile)}\n`);
  for (const result of failedDemands) stdout.write(`${describeFailedDemand(result, file, policyFile)}\n`);
  const verdict = failedCount === 0 ? "all are met" : `${failedCount} are not met`;
  stdout.write(`${count} expectations of ${policyFile}: ${verdict}\n`);
}
