import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";

import type { AcceptedMemory } from "@postern/gate/accepted-memory";
import type { Verifier } from "@postern/gate/gate";
import { errorText } from "@postern/core/errors";
import { FwknopVerifier } from "@postern/knock/fwknop/verifier";
import { Spa1Verifier } from "@postern/knock/spa1/verifier";
import { ThesisVerifier } from "@postern/knock/thesis/verifier";

import { ConfigError } from "../config/errors.ts";
import type { GateConfiguration } from "../config/gate.ts";

/** Refusals of unknown devices in a second that cost what those of known ones do: some 3 % of a core. */
const disguisedPerSecondMax = 1_000;

export interface VerifierOptions {
  readonly gate: GateConfiguration;
  readonly gateId: string;
  readonly memory: AcceptedMemory;
  /** The ports that a knock of another format opens. */
  readonly ports: readonly number[];
  /** Those of each service that SPA1 asks for. */
  readonly services: ReadonlyMap<number, readonly number[]>;
  /** The configuration's file, which paths in it are relative to. */
  readonly file: string;
  readonly nowMs: number;
}

/** The judges of all formats that are switched on. */
export interface Verifiers {
  readonly spa1: Spa1Verifier;
  readonly fwknop: Verifier | undefined;
  readonly thesis: Verifier | undefined;
}

/** @throws {ConfigError} for a file that cannot be read or holds no key. */
export function createVerifiers(options: VerifierOptions): Verifiers {
  const { gate, gateId, memory, services, nowMs } = options;
  const limits = { windowSecondsDefault: gate.windowSeconds, windowSecondsMax: gate.windowSecondsMax };
  const { lostAtMs } = memory;
  const spa1 = new Spa1Verifier(
    {
      ...limits,
      gateId,
      counters: memory,
      services,
      countersLostAtMs: lostAtMs,
      disguisedPerSecondMax,
    },
    nowMs,
  );
  return { spa1, fwknop: fwknopOf(options, limits), thesis: thesisOf(options) };
}

function fwknopOf(
  { gate: { fwknop }, memory, ports, file }: VerifierOptions,
  limits: { readonly windowSecondsDefault: number; readonly windowSecondsMax: number },
): FwknopVerifier | undefined {
  if (fwknop === undefined) return undefined;
  const stanzas = fwknop.clients.map(({ keyFile, hmacKeyFile, ...client }) => ({
    ...client,
    key: base64Key(keyFile, file, 32),
    hmacKey: base64Key(hmacKeyFile, file, 136),
    ports: new Set(ports),
  }));
  return new FwknopVerifier({ ...limits, stanzas, memory, memoryLostAtMs: memory.lostAtMs });
}

function thesisOf({ gate: { thesis }, memory, ports, file }: VerifierOptions): ThesisVerifier | undefined {
  if (thesis === undefined) return undefined;
  const passwords = thesis.passwords.map((each) => ({
    name: each.name,
    password: firstLine(each.file, file),
    ports,
    windowSeconds: thesis.windowSeconds,
  }));
  return new ThesisVerifier({
    passwords,
    skewSeconds: thesis.skewSeconds,
    memory,
    memoryLostAtMs: memory.lostAtMs,
  });
}

function firstLine(path: string, file: string): string {
  let text: string;
  try {
    text = readFileSync(resolve(dirname(file), path), "utf8");
  } catch (thrown) {
    throw new ConfigError(`gate: ${path} cannot be read: ${errorText(thrown)}`, { file }, { cause: thrown });
  }
  const [line = ""] = text.split(/\r?\n/, 1);
  if (line === "") throw new ConfigError(`gate: the first line of ${path} is empty`, { file });
  return line;
}

/** A key as `fwknop --key-gen` prints it. */
function base64Key(path: string, file: string, bytesMax: number): Buffer {
  const line = firstLine(path, file);
  const key = Buffer.from(line, "base64");
  if (!/^[A-Za-z0-9+/]+=*$/.test(line) || key.length === 0 || key.length > bytesMax) {
    throw new ConfigError(
      `gate: ${path} must hold 1 to ${bytesMax} bytes in base64, as fwknop --key-gen prints it`,
      {
        file,
      },
    );
  }
  return key;
}
