import { readFileSync } from "node:fs";

import { formatEndpoint, parseEndpoint, type Endpoint } from "@postern/gate/host-profile/endpoint";

/** Ancestors that are looked at: a shell in sudo in a shell in tmux in a shell. */
const ancestorsMax = 32;

/**
 * The way in by which the person at this terminal came, when that is SSH: it must stay open, or nobody can confirm. sudo takes
 * SSH_CONNECTION out of the environment, so that of the processes above is read too.
 */
export function sshEndpoint(env: Readonly<Record<string, string | undefined>>): Endpoint | undefined {
  const [client, , , port] = (env["SSH_CONNECTION"] ?? ancestorsConnection() ?? "").split(" ");
  if (client === undefined || port === undefined) return undefined;
  const [peer = client] = client.split("%");
  const endpoint = parseEndpoint(formatEndpoint({ protocol: "tcp", port: Number(port), peer }));
  return endpoint === undefined ? undefined : { ...endpoint, purpose: "your SSH connection" };
}

function ancestorsConnection(): string | undefined {
  let pid = process.ppid;
  for (let step = 0; step < ancestorsMax && pid > 1; step++) {
    try {
      const found = /(?:^|\0)SSH_CONNECTION=([^\0]*)/.exec(readFileSync(`/proc/${pid}/environ`, "latin1"));
      if (found !== null) return found[1];
      pid = Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1]);
    } catch {
      return undefined;
    }
  }
  return undefined;
}
