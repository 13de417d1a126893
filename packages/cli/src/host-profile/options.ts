import { isPeer, parseEndpoint, type Endpoint } from "@postern/gate/host-profile/endpoint";

import type { CommandContext } from "../context.ts";
import { UsageError } from "../errors.ts";
import { sshEndpoint } from "./ssh-connection.ts";

/** What both kinds of profile are told. */
export interface ProfileOptions {
  readonly in?: readonly string[];
  readonly out?: readonly string[];
  readonly ssh: boolean;
  readonly knockPort?: number;
}

/** What the operator lists, and the way by which the operator came. @throws {UsageError} */
export function commonEndpoints(
  options: ProfileOptions,
  { env }: Pick<CommandContext, "env">,
): { readonly in: readonly Endpoint[]; readonly out: readonly Endpoint[] } {
  const ssh = options.ssh ? sshEndpoint(env) : undefined;
  return {
    in: [...(ssh === undefined ? [] : [ssh]), ...listed("--in", options.in)],
    out: listed("--out", options.out),
  };
}

function listed(option: string, texts: readonly string[] = []): Endpoint[] {
  return texts.map((text) => {
    const endpoint = parseEndpoint(text);
    if (endpoint !== undefined) return Object.assign(endpoint, { purpose: "listed" });
    throw new UsageError(`${option} needs something like tcp/22, or udp/53@192.168.1.1, not "${text}"`);
  });
}

/** Each peer on its own, or nobody in particular. @throws {UsageError} */
export function peersOf(given: readonly string[] | undefined): readonly (string | undefined)[] {
  for (const peer of given ?? []) {
    if (!isPeer(peer)) {
      throw new UsageError(`--client needs an address or a prefix such as 192.168.1.0/24, not "${peer}"`);
    }
  }
  return given ?? [undefined];
}
