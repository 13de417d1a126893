import { statSync } from "node:fs";

import { systemClock } from "@postern/core/clock";
import { checkClock, loadAuthority } from "@postern/identity/authority";
import type { DataDirectory } from "@postern/identity/data-directory";
import { DeviceManager } from "@postern/identity/devices/manager";
import { openDevices } from "@postern/identity/installation";
import { readBrokerPublicKey } from "@postern/identity/payloads/broker-key";
import { DeviceTokens } from "@postern/identity/tokens/device-tokens";
import { lockDirectory } from "@postern/store/directory-lock";
import { StoreLockedError } from "@postern/store/errors";

import { NotRunningError, askServer, existingDataDirectory } from "../admin/client.ts";
import type { DeviceOperation } from "../admin/device-protocol.ts";
import { selectConfiguration, type Selection, type SelectOptions } from "../config/select.ts";
import { UsageError } from "../errors.ts";
import { knockOf } from "../gate/bundle-knock.ts";
import { readGateIdentity } from "../gate/gate-files.ts";
import { estIsHidden } from "../gate/guard.ts";
import { gateImpossible } from "../gate/privileges.ts";
import { bundleServers, estServers, thisMachine } from "../server/addresses.ts";
import { givenCertificateFiles, serverCaOf } from "../server/given-certificate.ts";
import { statusUrls } from "../server/revocation/status-urls.ts";

/** The installation that a command is about. */
export interface Place extends Selection {
  readonly directory: DataDirectory;
  readonly cwd: string;
}

/** @throws {ConfigError | UsageError | NotRunningError} */
export function placeOf(options: SelectOptions, cwd: string): Place {
  const selection = selectConfiguration({ ...options, hidden: gateImpossible() === undefined }, cwd);
  return { ...selection, directory: existingDataDirectory(selection.data), cwd };
}

/** Files that root makes, a server that runs as somebody else cannot read afterwards. @throws {UsageError} */
export function checkUser({ path }: DataDirectory): void {
  const owner = statSync(path).uid;
  if (process.getuid?.() !== 0 || owner === 0) return;
  throw new UsageError(
    `this would write files of root into ${path}, which belongs to another user (uid ${owner}): run it as that user, such as with sudo -u '#${owner}'`,
  );
}

/** Does it on the files. @throws {StoreLockedError} while a server runs on them. */
async function performHere<Request extends object, Answer>(
  { directory, configuration, cwd }: Place,
  { run }: DeviceOperation<Request, Answer>,
  request: Request,
): Promise<Answer> {
  checkUser(directory);
  const unlock = lockDirectory(directory.state);
  try {
    checkClock(systemClock.wallMs());
    const authority = loadAuthority(
      directory.pki,
      systemClock.wallMs(),
      statusUrls(configuration.revocation),
    );
    using registry = openDevices(directory.pki);
    // A port that the system chooses is known only to the server that has it.
    const servers = (proof: "psk" | "other") =>
      bundleServers(configuration, new Map(), thisMachine(), proof === "psk").filter(
        ({ url }) => new URL(url).port !== "0",
      );
    const { est } = configuration;
    const renewals =
      est === undefined || est.port === 0 ? undefined : estServers(configuration, est.port, thisMachine());
    const manager = new DeviceManager({
      registry,
      authority: () => authority,
      servers,
      serverCa: () => serverCaOf(givenCertificateFiles(configuration, cwd), authority.rootPem),
      est: () => renewals,
      knock: knockOf(configuration.gate, readGateIdentity(directory.path), estIsHidden(configuration)),
      brokerKey: readBrokerPublicKey(directory.pki),
      issueToken: async (device, life) => (await DeviceTokens.open(directory.pki)).issue(device, life),
      clock: systemClock,
      serves: false,
    });
    return await run(manager, request);
  } finally {
    unlock();
  }
}

/**
 * Does something to devices: asks the server that runs on the data directory or, when none does, works on its files.
 * @throws {UsageError} for a request that cannot be, and what the operation throws.
 */
export async function perform<Request extends object, Answer>(
  place: Place,
  operation: DeviceOperation<Request, Answer>,
  request: Request,
): Promise<Answer> {
  const checked = operation.request.safeParse(request);
  if (!checked.success) throw new UsageError(checked.error.issues[0]?.message ?? "not a request");
  const path = `/devices/${operation.name}`;
  const body = checked.data;
  try {
    return await askServer(place.directory, place.cwd, {
      method: "POST",
      path,
      body,
      answer: operation.answer,
    });
  } catch (thrown) {
    if (!(thrown instanceof NotRunningError)) throw thrown;
    try {
      return await performHere(place, operation, request);
    } catch (own) {
      // There is a server, but it cannot be asked: that is what is to be said.
      throw own instanceof StoreLockedError ? thrown : own;
    }
  }
}
