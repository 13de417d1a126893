import { existsSync, lstatSync, rmSync } from "node:fs";
import { connect } from "node:net";

import type { Broker } from "@postern/broker/broker";
import type { ListenerOptions, RunningListener } from "@postern/broker/listeners/listener";

import type { Configuration, ListenerConfiguration } from "../config/configuration.ts";
import type { ListenerAddress } from "../config/listener-url.ts";
import type { Authentication } from "./authentication.ts";
import type { Certificates } from "./certificates.ts";
import { listenError } from "./listen-error.ts";
import { listenerTls } from "./listener-tls.ts";

/** What a listener proves to clients, and how they prove who they are. */
interface Proofs {
  readonly certificates: Certificates;
  readonly authentication: Authentication;
}

function listenerOptions(
  configuration: ListenerConfiguration,
  options: Configuration,
  { certificates, authentication }: Proofs,
): ListenerOptions {
  const { name, address, anonymous, insecure, sealedPasswords, limits } = configuration;
  const where =
    address.kind === "unix" ? { host: address.path, port: 0 } : { host: address.host, port: address.port };
  const { tls, ...proof } = listenerTls(configuration, options, {
    certificates,
    failures: authentication.failures,
  });
  const confidential = tls !== undefined || address.kind === "unix" || (insecure && !sealedPasswords);
  return {
    name,
    kind: address.kind,
    ...where,
    anonymous,
    confidential,
    sealedPasswords,
    limits,
    tls,
    ...proof,
  };
}

/** Whether somebody answers on a Unix socket. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** A socket file outlives a process that was killed; nobody else can listen there until it is gone. */
async function removeDeadSocket(address: ListenerAddress): Promise<void> {
  if (address.kind !== "unix" || !existsSync(address.path)) return;
  if (lstatSync(address.path).isSocket() && !(await answers(address.path))) rmSync(address.path);
}

/** Opens all listeners or, when one cannot be opened, throws. @throws {ListenError} */
export async function listenAll(
  broker: Broker,
  configuration: Configuration,
  proofs: Proofs,
): Promise<RunningListener[]> {
  const listeners: RunningListener[] = [];
  for (const each of configuration.listeners) {
    try {
      await removeDeadSocket(each.address);
      listeners.push(await broker.listen(listenerOptions(each, configuration, proofs)));
    } catch (thrown) {
      throw listenError(each.address, thrown);
    }
  }
  return listeners;
}
