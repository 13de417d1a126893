import { statSync } from "node:fs";

import { Broker } from "@postern/broker/broker";
import { systemClock } from "@postern/core/clock";
import type { Bundle } from "@postern/core/bundle";
import { hostAndPort } from "@postern/core/host";
import { openDataDirectory, type DataDirectory } from "@postern/identity/data-directory";
import { openBrokerKey } from "@postern/identity/payloads/broker-key";
import { provideBundles } from "@postern/identity/installation";
import type { LmdbSessionStore } from "@postern/store/lmdb-session-store";
import type { FastifyInstance } from "fastify";
import type { Logger } from "pino";

import { deviceRoutes } from "../admin/device-routes.ts";
import { enrolmentRoutes } from "../admin/enrolment-routes.ts";
import type { ExplainRequest, Status } from "../admin/protocol.ts";
import { startAdminServer } from "../admin/server.ts";
import type { Configuration, ListenerConfiguration, LogLevel } from "../config/configuration.ts";
import { openDoor, type OpenDoor } from "../gate/open-door.ts";
import { version } from "../version.ts";
import { bundleServers, certificateHosts, thisMachine, type Machine } from "./addresses.ts";
import { FileAuditLog } from "./audit-log.ts";
import { Authentication, countingRefusals } from "./authentication.ts";
import { Certificates } from "./certificates.ts";
import { Enrolment } from "./enrolment.ts";
import { CollectAtRest } from "./collect-at-rest.ts";
import { manageDevices } from "./devices.ts";
import { givenCertificateFiles, watchGivenCertificate } from "./given-certificate.ts";
import { serviceListenError } from "./listen-error.ts";
import { listenAll } from "./listeners.ts";
import { LivePermissions, readPermissions } from "./live-permissions.ts";
import { createMetrics } from "./metrics.ts";
import { startMetricsServer } from "./metrics-server.ts";
import { openFilesMax } from "./process-table.ts";
import { Rates } from "./rates.ts";
import { ForeignDevices } from "./revocation/foreign-devices.ts";
import { Reload } from "./reload.ts";
import { Revocation } from "./revocation/revocation.ts";
import { describeStatus } from "./status.ts";
import { openStore } from "./store.ts";
import { threadsOf } from "./threads.ts";

const firstDevice = { tenant: "default", device: "first-device", roles: ["administrator"] } as const;

/** How often certificates are looked at. */
const renewalMs = 3_600_000;

/** Files that the server needs for itself, above those of clients. */
const ownFiles = 200;

export interface ServerOptions {
  readonly configuration: Configuration;
  /** Absolute path of the data directory. */
  readonly data: string;
  readonly cwd: string;
  readonly log: Logger;
  /** Somebody asked by the admin API that the server stop. */
  readonly onShutdown: () => void;
  /** Whether a gate runs beside this server, and hides it. */
  readonly besideGate?: boolean;
}

export interface RunningServer extends AsyncDisposable {
  readonly directory: DataDirectory;
  /** With the ports that were really bound. */
  readonly listeners: readonly { readonly url: string; readonly configuration: ListenerConfiguration }[];
  readonly metricsUrl: string | undefined;
  /** Where devices get and renew certificates; `undefined` when nowhere. */
  readonly estUrl: string | undefined;
  /** Where CRL and OCSP are; `undefined` when nowhere. */
  readonly revocationUrl: string | undefined;
  /** The UDP port to knock on, where a gate hides the listeners. */
  readonly knockPort?: number | undefined;
  /** SHA-256 of the authority's root certificate. */
  readonly authorityFingerprint: string;
  /** Whether this start made the authority. */
  readonly created: boolean;
  /** The bundle to try the server with; `undefined` when it was moved away or there is no TLS listener. */
  readonly firstBundle: string | undefined;
  /** What the person who started it should know. */
  readonly warnings: readonly string[];
  /** Reads certificates and permissions again. Never throws: what went wrong is logged, and the old ones stay. */
  reload(): Promise<void>;
}

/** What is being built up while a server starts; closed in reverse order. */
interface Parts {
  readonly options: ServerOptions;
  readonly stack: AsyncDisposableStack;
  readonly directory: DataDirectory;
  readonly store: LmdbSessionStore;
  readonly audit: FileAuditLog;
  readonly certificates: Certificates;
  readonly authentication: Authentication;
  readonly revocation: Revocation;
  readonly permissions: LivePermissions;
  readonly broker: Broker;
  readonly warnings: string[];
}

/**
 * Starts everything in this process; the result stops it all when it is disposed of.
 * @throws {PosternError} with one sentence for a person; then nothing is left running.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  await using stack = new AsyncDisposableStack();
  const { configuration, log } = options;
  const directory = openDataDirectory(options.data);
  // First of all: it is the lock on the whole directory.
  const store = await openStore(directory, log);
  stack.defer(() => store.close());
  const policy = readPermissions(directory);
  const machine = thisMachine();
  const hosts = certificateHosts(configuration, machine);
  const certificates = await Certificates.open({
    directory,
    configuration,
    hosts,
    cwd: options.cwd,
    clock: systemClock,
    log,
  });
  stack.defer(() => certificates.installation.registry.close());
  const revocation = stack.use(
    await Revocation.start({
      configuration: configuration.revocation,
      pki: directory.pki,
      installation: () => certificates.installation,
      clock: systemClock,
      log,
    }),
  );
  certificates.useStaple(() => revocation.staple());
  const audit = stack.use(new FileAuditLog(directory.audit, { clock: systemClock, log }));
  const foreign = stack.use(
    new ForeignDevices({
      configuration,
      cwd: options.cwd,
      registry: certificates.installation.registry,
      own: certificates.authenticator,
      audit,
      clock: systemClock,
      log,
    }),
  );
  certificates.useAuthorities(() => foreign.authorities);
  const brokerKey = openBrokerKey(directory.pki, certificates.installation.authority);
  const door = stack.use(openDoor(options, directory, certificates.installation.registry));
  const authentication = stack.use(
    await Authentication.open({
      configuration,
      cwd: options.cwd,
      pki: directory.pki,
      transport: foreign,
      registry: certificates.installation.registry,
      audit,
      decryption: brokerKey.decryption,
      clock: systemClock,
      log,
      onFailure: ({ address, kind }) => door.doorkeeper?.failed(address, kind),
    }),
  );
  const permissions = stack.use(
    new LivePermissions(policy, certificates.installation.registry, {
      directory,
      decryption: brokerKey.decryption,
      clock: systemClock,
      log,
    }),
  );
  const broker = stack.adopt(
    createBroker(options, { store, audit, authentication, permissions, door }),
    (started) => started.close(),
  );
  permissions.follow(broker, audit);
  const parts: Parts = {
    options,
    stack,
    directory,
    store,
    audit,
    certificates,
    authentication,
    revocation,
    permissions,
    broker,
    warnings: [
      ...configuration.warnings,
      ...permissions.warnings(configuration.listeners.some(({ anonymous }) => anonymous)),
    ],
  };

  const listeners = await listenAll(broker, configuration, parts);
  const ports = new Map(listeners.map(({ name, port }) => [name, port]));
  const servers = bundleServers(configuration, ports, machine);
  foreign.watch({ broker, reloadTls: () => listeners.forEach((listener) => listener.reloadTls()) });
  const enrolment = await startEnrolment(parts, {
    machine,
    servers,
    door,
    brokerKey: brokerKey.publicKey,
  });
  const provide = () =>
    provideBundles({
      directory,
      installation: certificates.installation,
      servers,
      est: enrolment.places,
      knock: door.knock,
      brokerKey: brokerKey.publicKey,
      firstDevice,
      nowMs: systemClock.wallMs(),
    });
  const firstBundle = await provide();
  const reload = new Reload({
    ...parts,
    log,
    listeners: [...listeners, enrolment],
    provide,
  });
  const timer = setInterval(() => void reload.attempt(), renewalMs).unref();
  stack.defer(() => clearInterval(timer));
  const metricsUrl = await startMetrics(parts);
  const devices = manageDevices({
    ...parts,
    listeners,
    servers: (proof) => bundleServers(configuration, ports, machine, proof === "psk"),
    est: () => enrolment.places,
    knock: door.knock,
    brokerKey: brokerKey.publicKey,
  });
  const given = givenCertificateFiles(configuration, options.cwd);
  if (given !== undefined) stack.use(watchGivenCertificate(given, () => void reload.attempt()));
  await startAdmin(parts, { metricsUrl, reload: () => reload.now() }, (app) => {
    enrolmentRoutes(app, enrolment);
    deviceRoutes(app, devices);
  });
  warnOfFewFiles(parts);
  stack.use(new CollectAtRest(broker));
  audit.recordServer("started", `version ${version}`);

  const closing = stack.move();
  const { authority, created } = certificates.installation;
  return {
    directory,
    listeners: configuration.listeners.map((listener, index) => ({
      url: listeners[index]?.url ?? listener.name,
      configuration: listener,
    })),
    metricsUrl,
    estUrl: enrolment.url,
    revocationUrl: revocation.url,
    knockPort: door.doorkeeper === undefined ? undefined : configuration.gate?.port,
    authorityFingerprint: authority.root.fingerprint,
    created,
    firstBundle,
    warnings: parts.warnings,
    reload: () => {
      permissions.reload();
      return reload.attempt();
    },
    [Symbol.asyncDispose]: async () => {
      audit.recordServer("stopped", "");
      await closing.disposeAsync();
    },
  };
}

function createBroker(
  { configuration, log }: ServerOptions,
  {
    store,
    audit,
    authentication,
    permissions,
    door,
  }: Pick<Parts, "store" | "audit" | "authentication" | "permissions"> & { readonly door: OpenDoor },
): Broker {
  const { limits, responseInformation, serverReference } = configuration;
  return new Broker(
    {
      clock: systemClock,
      log,
      store,
      authenticator: authentication.authenticator,
      authorizer: permissions.authorizer,
      payloadRules: permissions.payloads,
      bus: undefined,
      audit: countingRefusals(audit, authentication.failures),
      doorkeeper: door.doorkeeper,
    },
    { limits, responseInformation, serverReference, version, ...threadsOf(configuration.workers) },
  );
}

async function startEnrolment(
  { options, stack, directory, certificates, audit, authentication, warnings }: Parts,
  {
    machine,
    servers,
    door: { knock, enrolment: door },
    brokerKey,
  }: {
    readonly machine: Machine;
    readonly servers: Bundle["servers"];
    readonly door: OpenDoor;
    readonly brokerKey: string;
  },
): Promise<Enrolment> {
  const { configuration, log } = options;
  const warn = (sentence: string): void => void warnings.push(sentence);
  const { failures } = authentication;
  const parts = { configuration, directory, certificates, audit, failures, machine, clock: systemClock, log };
  return stack.use(await Enrolment.start({ ...parts, servers: () => servers, brokerKey, knock, door, warn }));
}

/** @returns the URL; `undefined` when metrics are off, or their default port is taken. @throws {ListenError} */
async function startMetrics({
  options,
  stack,
  broker,
  certificates,
  warnings,
}: Parts): Promise<string | undefined> {
  const { metrics } = options.configuration;
  if (metrics === undefined) return undefined;
  const registry = createMetrics({
    version,
    snapshot: () => broker.snapshot(),
    certificates: () => certificates.status(),
    storeHealthy: () => broker.storeFailure === undefined,
  });
  try {
    const server = await startMetricsServer(metrics, registry, {
      unready: () => broker.storeFailure?.message,
    });
    return stack.use(server).url;
  } catch (thrown) {
    const url = `http://${hostAndPort(metrics.host, metrics.port)}`;
    const error = serviceListenError({ service: "metrics", url, key: "metrics.url" }, thrown);
    if (metrics.required) throw error;
    warnings.push(`there are no metrics: ${error.message}`);
    return undefined;
  }
}

async function startAdmin(
  { options, stack, directory, store, audit, broker, certificates, authentication, permissions }: Parts,
  { metricsUrl, reload }: { readonly metricsUrl: string | undefined; readonly reload: () => Promise<void> },
  routes: (app: FastifyInstance) => void,
): Promise<void> {
  const { log, cwd, onShutdown } = options;
  const rates = stack.use(new Rates(() => ({ ...broker.counters() }), systemClock));
  const status = (): Status =>
    describeStatus(broker.snapshot(), {
      version,
      workers: broker.threadCountMax,
      threads: broker.threadCount,
      data: directory.path,
      logLevel: log.level,
      storeFailure: broker.storeFailure?.message,
      metricsUrl,
      rates: rates.perSecond(),
      authentication: authentication.status(),
      certificates: certificates.status(),
      permissions: permissions.status(),
      nowMs: systemClock.wallMs(),
    });
  const backup = async (file: string): Promise<number> => {
    await store.backup(file);
    log.info({ file }, "a backup was written");
    audit.recordServer("backup", file);
    return statSync(file).size;
  };
  const setLogLevel = (level: LogLevel): void => {
    log.level = level;
    log.info({ to: level }, "the log level was changed");
  };
  const administered = {
    status,
    auditHead: () => audit.head,
    setLogLevel,
    reload,
    backup,
    explainPermissions: (asked: ExplainRequest) => permissions.explain(asked),
    shutdown: onShutdown,
  };
  stack.use(await startAdminServer(directory.run, cwd, administered, routes));
}

function warnOfFewFiles({ options, warnings }: Parts): void {
  const filesMax = openFilesMax();
  const { connectionsMax } = options.configuration.limits;
  if (filesMax === undefined || filesMax - ownFiles >= Math.min(connectionsMax, 10_000)) return;
  warnings.push(
    `this process may open only ${filesMax} files at once, enough for about ${Math.max(filesMax - ownFiles, 0)} clients: raise it with ulimit -n or LimitNOFILE= in systemd`,
  );
}
