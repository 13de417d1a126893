import { relative } from "node:path";

import type { DataDirectory } from "@postern/identity/data-directory";
import type { Question } from "@postern/identity/permissions/explain";

import { askServer, existingDataDirectory, NotRunningError } from "../admin/client.ts";
import { explainResult, type ExplainRequest, type ExplainResult } from "../admin/protocol.ts";
import { resolveDataDirectory } from "../config/select.ts";
import type { CommandContext } from "../context.ts";
import { ExitCode, UsageError } from "../errors.ts";
import { explainRequested } from "./explain-request.ts";
import { renderExplanation } from "./render-explanation.ts";

export interface ExplainOptions {
  readonly qos: Question["qos"];
  readonly client?: string;
  readonly data?: string;
  readonly json?: boolean;
}

/** As somebody in `cwd` would name it. */
function nameOf(path: string, cwd: string): string {
  const name = relative(cwd, path);
  return name.startsWith("..") ? path : name;
}

/** The running server's answer, by what is in force there; without one, by the files. */
async function answer(directory: DataDirectory, asked: ExplainRequest, cwd: string): Promise<ExplainResult> {
  try {
    return await askServer(directory, cwd, {
      method: "POST",
      path: "/permissions/explain",
      body: asked,
      answer: explainResult,
    });
  } catch (thrown) {
    if (!(thrown instanceof NotRunningError)) throw thrown;
  }
  const { readPolicyFile } = await import("@postern/identity/permissions/policy-file");
  const { DeviceRegistry } = await import("@postern/identity/registry");
  const { devicesFile } = await import("@postern/identity/installation");
  const { policy } = readPolicyFile(directory.permissions, nameOf(directory.permissions, cwd));
  using registry = new DeviceRegistry(devicesFile(directory.pki), { readOnly: true });
  return explainRequested({ policy, registry }, asked);
}

/** `postern permissions explain`: exit code 0 for yes, 1 for no. @throws {PosternError} */
export async function runExplain(
  device: string,
  question: Question,
  { client, data, json }: ExplainOptions,
  context: CommandContext,
): Promise<void> {
  const { cwd, stdout } = context;
  const directory = existingDataDirectory(resolveDataDirectory(data, cwd));
  const result = await answer(directory, { device, client: client ?? device, ...question }, cwd);
  if (result.kind === "unknown-device")
    throw new UsageError(
      `there is no device "${device}" (${result.count} are known): see \`postern device list\`, or say anonymous for clients without proof`,
    );
  const { explanation } = result;
  const file = nameOf(directory.permissions, cwd);
  stdout.write(
    json === true
      ? `${JSON.stringify({ device, ...question, file, ...explanation })}\n`
      : renderExplanation(device, question, explanation, file),
  );
  if (!explanation.permitted) context.exitCode = ExitCode.failed;
}
