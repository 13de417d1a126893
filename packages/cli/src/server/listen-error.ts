import { errorCode, errorText } from "@postern/core/errors";
import { hostAndPort } from "@postern/core/host";

import { formatListenerUrl, type ListenerAddress } from "../config/listener-url.ts";
import { CliError, ExitCode } from "../errors.ts";
import { portHolder, processDescription } from "./process-table.ts";

/** An address cannot be listened on. */
export class ListenError extends CliError {
  readonly code = "LISTEN";
  readonly exitCode = ExitCode.failed;
}

/** Who has the port, and what to do about that, as the end of a sentence. */
function takenBy(port: number, mend: string): string {
  const pid = portHolder(port);
  if (pid === process.pid) return `is taken by another listener of this server: ${mend}`;
  const description = pid === undefined ? undefined : processDescription(pid);
  const holder =
    pid === undefined
      ? "another program"
      : `process ${pid}${description === undefined ? "" : ` (${description})`}`;
  return `is taken by ${holder}: stop it, or ${mend}`;
}

function causeAndMend(address: ListenerAddress, thrown: unknown): string {
  const code = errorCode(thrown);
  if (address.kind === "unix") {
    if (code === "EADDRINUSE") return "something listens there already: stop it, or choose another path";
    if (code === "EACCES") return "permission denied: choose a path in a directory this user may write";
    if (code === "ENOENT") return "there is no such directory: create it, or choose another path";
    return errorText(thrown);
  }
  const { host, port } = address;
  const where = hostAndPort(host, port);
  if (code === "EADDRINUSE") return `port ${port} ${takenBy(port, "choose another port under listeners")}`;
  if (code === "EACCES") {
    return `this user has no right to port ${port}: choose one above 1023, or give the right with setcap cap_net_bind_service=+ep on the runtime (or AmbientCapabilities= in systemd)`;
  }
  if (code === "EADDRNOTAVAIL") return `${host} is not an address of this machine: see \`ip address\``;
  if (code === "ENOTFOUND" || code === "EAI_AGAIN")
    return `the name ${host} cannot be resolved: use an IP address`;
  if (code === "EAFNOSUPPORT")
    return `this machine has no ${host.includes(":") ? "IPv6" : "IPv4"}: ${where} cannot be used`;
  return errorText(thrown);
}

/** The sentence for a listener that could not be opened. */
export function listenError(address: ListenerAddress, thrown: unknown): ListenError {
  return new ListenError(`cannot listen on ${formatListenerUrl(address)}: ${causeAndMend(address, thrown)}`, {
    cause: thrown,
  });
}

/** The sentence for the address of a service beside the listeners that could not be opened; `key` is its place in the configuration. */
export function serviceListenError(
  { service, url, key }: { readonly service: string; readonly url: string; readonly key: string },
  thrown: unknown,
): ListenError {
  const cause =
    errorCode(thrown) === "EADDRINUSE"
      ? `port ${new URL(url).port} ${takenBy(Number(new URL(url).port), `choose another with ${key}, or ${key}: off`)}`
      : errorText(thrown);
  return new ListenError(`cannot serve ${service} on ${url}: ${cause}`, { cause: thrown });
}
