import type { Group } from "@postern/seal/groups/group";

/** A group for programs: without its secrets. */
export function groupView({ epochs, members, ...group }: Group) {
  const { name, filters, mode, retained, graceSeconds } = group;
  return {
    name,
    topics: filters,
    mode,
    retained,
    maxAgeSeconds: group.maxAgeSeconds ?? null,
    rotateSeconds: group.rotateSeconds ?? null,
    graceSeconds,
    epochs: epochs.map(({ epoch, notBeforeMs, openUntilMs }) => ({
      epoch,
      from: new Date(notBeforeMs).toISOString(),
      until: openUntilMs === undefined ? null : new Date(openUntilMs).toISOString(),
    })),
    members: members.map(({ device, signs }) => ({ device, signs })),
  };
}

const unitSeconds = [
  ["d", 86_400],
  ["h", 3_600],
  ["m", 60],
  ["s", 1],
] as const;

/** `24h`, as it is given on the command line. */
function duration(seconds: number | undefined): string {
  if (seconds === undefined) return "never";
  const [unit, size] = unitSeconds.find(([, size]) => seconds % size === 0) ?? ["s", 1];
  return `${seconds / size}${unit}`;
}

/** Groups for people, one a line. */
export function renderGroups(groups: readonly Group[]): string {
  if (groups.length === 0) return "no groups\n";
  const rows = groups.map(({ name, mode, filters, members, epochs }) => [
    name,
    mode,
    `${members.length}`,
    `${epochs[0]?.epoch ?? "-"}`,
    filters.join(" "),
  ]);
  const lines = [["group", "mode", "members", "epoch", "topics"], ...rows];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map((line) => `${line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}\n`)
    .join("");
}

/** One group for people, with its members. */
export function renderGroup(group: Group): string {
  const { name, filters, mode, members, epochs, retained } = group;
  const lines: (readonly [string, string])[] = [
    ["group", name],
    ["topics", filters.join(" ")],
    ["mode", mode],
    ["greatest age", group.maxAgeSeconds === undefined ? "any" : duration(group.maxAgeSeconds)],
    ["retained", retained ? "accepted" : "refused"],
    [
      "new key",
      group.rotateSeconds === undefined ? "when members change" : `every ${duration(group.rotateSeconds)}`,
    ],
    ["old keys open", `${duration(group.graceSeconds)} more`],
    ...epochs.map(({ epoch, notBeforeMs, openUntilMs }): [string, string] => [
      `epoch ${epoch}`,
      `from ${new Date(notBeforeMs).toISOString()}${openUntilMs === undefined ? "" : `, opens until ${new Date(openUntilMs).toISOString()}`}`,
    ]),
    ...members.map(({ device, signs }): [string, string] => ["member", signs ? `${device} (signs)` : device]),
  ];
  return lines.map(([label, value]) => `${label.padEnd(15)}${value}\n`).join("");
}
