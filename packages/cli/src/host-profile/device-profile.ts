import { lookup } from "node:dns/promises";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { resolve } from "node:path";

import { errorText } from "@postern/core/errors";
import type { Endpoint } from "@postern/gate/host-profile/endpoint";
import type { HostProfile } from "@postern/gate/host-profile/profile";
import { parseBundle } from "@postern/core/bundle";

import { defaultKnockPort } from "../config/gate.ts";
import { parseListenerUrl } from "../config/listener-url.ts";
import type { CommandContext } from "../context.ts";
import { UsageError } from "../errors.ts";
import { commonEndpoints, type ProfileOptions } from "./options.ts";

export interface AgentOptions extends ProfileOptions {
  readonly bundle?: readonly string[];
  readonly server?: readonly string[];
}

type Server = {
  readonly host: string;
  readonly port: number;
  readonly knockPort?: number | undefined;
  /** What is said of it in the rules. */
  readonly is?: "server" | "enrolment server" | undefined;
};

/**
 * The profile of a device: nothing comes in, and out go only knocks and connections to its servers, and to where its certificate is renewed. A server's name is looked
 * up now, and its addresses are what is let through. @throws {UsageError}
 */
export async function deviceProfile(options: AgentOptions, context: CommandContext): Promise<HostProfile> {
  const servers = [
    ...(options.bundle ?? []).flatMap((file) => bundledServers(file, context)),
    ...(options.server ?? []).map(parseServer),
  ];
  if (servers.length === 0)
    throw new UsageError("Which servers may this device talk to? Name them with --bundle or --server.");
  const out = new Map<string, Endpoint>();
  for (const { host, port, knockPort, is = "server" } of servers) {
    for (const peer of await addressesOf(host)) {
      const purpose = isIP(host) === 0 ? host : undefined;
      const endpoints: Endpoint[] = [
        {
          protocol: "udp",
          port: options.knockPort ?? knockPort ?? defaultKnockPort,
          peer,
          purpose: labelled("knock", purpose),
        },
        { protocol: "tcp", port, peer, purpose: labelled(is, purpose) },
      ];
      for (const endpoint of endpoints) out.set(`${endpoint.protocol} ${endpoint.port} ${peer}`, endpoint);
    }
  }
  const listed = commonEndpoints(options, context);
  return { kind: "device", in: listed.in, out: [...out.values(), ...listed.out] };
}

function labelled(what: string, name: string | undefined): string {
  return name === undefined ? what : `${what} ${name}`;
}

function bundledServers(file: string, { cwd }: CommandContext): Server[] {
  let text: string;
  try {
    text = readFileSync(resolve(cwd, file), "utf8");
  } catch (thrown) {
    throw new UsageError(`${file} cannot be read: ${errorText(thrown)}`);
  }
  const { servers, est = [], knock } = parseBundle(text, file);
  const placed = (url: string, is: Server["is"]): Server => {
    const { hostname, port, protocol } = new URL(url);
    return {
      host: hostname.replace(/^\[|\]$/g, ""),
      port: port === "" ? (protocol === "mqtts:" ? 8883 : 443) : Number(port),
      knockPort: knock?.port,
      is,
    };
  };
  // Without these the device would be shut out when its certificate ends.
  const renewers = est.map(({ url }) => placed(url, "enrolment server"));
  return [...servers.map(({ url }) => placed(url, "server")), ...renewers];
}

function parseServer(text: string): Server {
  const found = parseListenerUrl(text.includes("://") ? text : `mqtts://${text}`);
  if (found.kind === "invalid" || found.kind === "unix") {
    throw new UsageError(`--server needs something like broker.example:8883, not "${text}"`);
  }
  return found;
}

async function addressesOf(host: string): Promise<string[]> {
  if (isIP(host) !== 0) return [host];
  try {
    const found = await lookup(host, { all: true });
    return found.map(({ address }) => address);
  } catch (thrown) {
    throw new UsageError(`${host} has no address that could be let through: ${errorText(thrown)}`);
  }
}
