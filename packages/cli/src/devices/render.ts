import type { DeviceView } from "@postern/identity/devices/view";

const dayMs = 86_400_000;

/** `2027-01-31 (in 12 days)`. */
function describeEnd(iso: string, nowMs: number): string {
  const days = Math.floor((Date.parse(iso) - nowMs) / dayMs);
  const distance =
    days < 0 ? "over" : days === 0 ? "within a day" : days === 1 ? "in 1 day" : `in ${days} days`;
  return `${iso.slice(0, 10)} (${distance})`;
}

function words(names: readonly string[]): string {
  return names.length === 0 ? "-" : names.join(",");
}

/** Columns as wide as their widest cell, the last as it is. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  "))
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
}

/** Devices for people, one a line. */
export function renderDevices(devices: readonly DeviceView[], nowMs: number): string {
  if (devices.length === 0) return "no devices\n";
  const rows = devices.map(({ name, state, roles, groups, auth, ends }) => [
    name,
    state,
    words(roles),
    words(groups),
    words(auth),
    ends === undefined || state !== "active" ? "-" : describeEnd(ends, nowMs),
  ]);
  const count = `${devices.length.toLocaleString("en-US")} ${devices.length === 1 ? "device" : "devices"}`;
  return `${table([["name", "state", "roles", "groups", "proof", "ends"], ...rows])}${count}\n`;
}

/** One device for people. */
export function renderDevice(device: DeviceView, nowMs: number): string {
  const { name, tenant, state, created, removed, revoked, roles, groups, auth, certificates, tokens } =
    device;
  const status =
    removed !== undefined
      ? `removed ${removed}`
      : revoked !== undefined
        ? `revoked ${revoked.at} (${revoked.reason})`
        : state;
  const lines: (readonly [string, string])[] = [
    ["device", name],
    ["state", status],
    ["tenant", tenant],
    ["created", created],
    ["roles", words(roles)],
    ["groups", words(groups)],
    ["proof", words(auth)],
  ];
  for (const { serialNumber, fingerprint, state: proof, notAfter, ends, revoked: gone } of certificates) {
    const end =
      gone === undefined
        ? `${proof === "ended" ? "ended" : "until"} ${describeEnd(ends ?? notAfter, nowMs)}`
        : `revoked ${gone.at} (${gone.reason})`;
    lines.push(["certificate", `${serialNumber}  ${end}`], ["", `SHA-256 ${fingerprint}`]);
  }
  for (const { id, state: proof, notAfter, revoked: gone } of tokens) {
    const end =
      gone === undefined
        ? `${proof === "ended" ? "ended" : "until"} ${describeEnd(notAfter, nowMs)}`
        : `revoked ${gone.at} (${gone.reason})`;
    lines.push(["token", `${id}  ${end}`]);
  }
  return lines.map(([title, text]) => `${title.padEnd(13)}${text}\n`).join("");
}
