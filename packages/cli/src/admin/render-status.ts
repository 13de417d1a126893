import type { Status } from "./protocol.ts";

const units = ["B", "KB", "MB", "GB", "TB"] as const;

/** `1.5 MB`, with units of 1,000. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let index = 0;
  while (value >= 1_000 && index < units.length - 1) {
    value /= 1_000;
    index += 1;
  }
  return `${index === 0 ? value : value.toFixed(1)} ${units[index] ?? ""}`;
}

/** `3 d 4 h`: the two largest units. */
export function formatDuration(seconds: number): string {
  const parts: readonly (readonly [number, string])[] = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3_600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [Math.floor(seconds) % 60, "s"],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  if (first < 0) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(" ");
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.map((line, index) => `${(index === 0 ? title : "").padEnd(14)}${line}`);
}

/** Client ids and names come from clients: nothing in them may act on the terminal. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, "?");
}

/** Who could not prove who they are, or did what they may not. */
function failureLines({ failures, refused, sources, worst, passwordsTurnedAway }: Status["authentication"]) {
  const kinds = Object.entries(failures).filter(([, failed]) => failed > 0);
  if (kinds.length === 0 && refused === 0 && passwordsTurnedAway === 0) return ["none"];
  const turnedAway =
    passwordsTurnedAway === 0
      ? ""
      : `, ${count(passwordsTurnedAway)} turned away while passwords were waiting`;
  return [
    `${kinds.map(([kind, failed]) => `${count(failed)} by ${kind}`).join(", ")}; ${count(refused)} attempts put off${turnedAway}`,
    ...(sources === 0 ? [] : [`addresses that failed of late: ${count(sources)}`]),
    ...worst.map(
      ({ source, failures: failed, waitMs }) =>
        `  ${printable(source)}: ${count(failed)}${waitMs === 0 ? "" : `, ${formatDuration(waitMs / 1_000)} to wait`}`,
    ),
  ];
}

function threadLines({ threads, workers }: Status): string[] {
  if (workers === 1) return [];
  const now = `connections on ${count(threads)} ${threads === 1 ? "thread" : "threads"}`;
  return [threads === workers ? now : `${now}, up to ${count(workers)} as they are needed`];
}

function permissionLines({ state, roles, loadedAt, problem, file }: Status["permissions"]): string[] {
  const inForce =
    state === "good"
      ? `${roles.length === 1 ? "1 role" : `${count(roles.length)} roles`} (${roles.join(", ")}), in force since ${loadedAt.slice(0, 19)}Z`
      : `NOBODY MAY DO ANYTHING: ${printable(file)} is ${state}`;
  return problem === undefined
    ? [inForce]
    : [inForce, `NOT IN FORCE, and to be mended: ${printable(problem)}`];
}

/** A status for people. */
export function renderStatus(status: Status): string {
  const { clients, sessions, queues, retained, rates, counters } = status;
  const rate = (name: string): string => count(rates[name] ?? 0);
  const total = (...names: readonly string[]): string =>
    count(names.reduce((sum, name) => sum + (counters[name] ?? 0), 0));
  const lines = [
    ...section("server", [
      `Postern ${status.version}, process ${status.pid}, up ${formatDuration(status.uptimeSeconds)}, ${formatBytes(status.memoryBytes)} of memory`,
      `data in ${status.data}, log level ${status.logLevel}`,
      ...threadLines(status),
      ...(status.storeFailure === undefined ? [] : [`CANNOT STORE: ${status.storeFailure}`]),
    ]),
    ...section(
      "listeners",
      status.listeners.map(
        ({ name, url, connections }) =>
          `${url}${name === url ? "" : ` (${printable(name)})`}: ${count(connections)} connections`,
      ),
    ),
    ...(status.metricsUrl === undefined ? [] : section("metrics", [status.metricsUrl])),
    ...section("clients", [`${count(clients.connected)} connected`]),
    ...section("sessions", [
      `${count(sessions.total)}, ${count(sessions.disconnected)} of them disconnected, ${count(sessions.subscriptions)} subscriptions`,
    ]),
    ...section("queues", [
      `${count(queues.messages)} messages, ${formatBytes(queues.bytes)}; ${formatBytes(queues.memoryBytes)} in memory`,
      ...queues.largest.map(
        ({ clientId, owner, connected, messages, bytes }) =>
          `  ${count(messages)} messages, ${formatBytes(bytes)} for "${printable(clientId)}" of ${owner === "" ? "anybody" : printable(owner)}, ${connected ? "connected" : "disconnected"}`,
      ),
    ]),
    ...section("retained", [`${count(retained.messages)} messages, ${formatBytes(retained.bytes)}`]),
    ...section("last minute", [
      `${rate("publishReceived")} messages/s in, ${rate("publishSent")} messages/s out`,
      `${formatBytes(rates["bytesReceived"] ?? 0)}/s in, ${formatBytes(rates["bytesSent"] ?? 0)}/s out`,
    ]),
    ...section("since start", [
      `${total("publishReceived")} messages in, ${total("publishSent")} out, ${total("publishDropped")} dropped at slow readers, ${total("queueDropped")} from full queues, ${total("connectRefused", "connectionsRefused")} connections refused`,
    ]),
    ...section("permissions", permissionLines(status.permissions)),
    ...section("failures", failureLines(status.authentication)),
    ...section(
      "certificates",
      status.certificates.map(({ name, notAfter, daysLeft, warning }) => {
        const when =
          daysLeft < 0 ? `EXPIRED ${notAfter}` : `${count(daysLeft)} days left (${notAfter.slice(0, 10)})`;
        return `${name}: ${when}${warning && daysLeft >= 0 ? ", EXPIRES SOON" : ""}`;
      }),
    ),
  ];
  return `${lines.join("\n")}\n`;
}
