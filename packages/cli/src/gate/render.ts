import type { GateStatus } from "@postern/gate/link/messages";

/** `1 h 5 min`, `42 s`. */
function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function section(title: string, lines: readonly string[]): string[] {
  return ["", title, ...(lines.length === 0 ? ["  none"] : lines.map((line) => `  ${line}`))];
}

/** What a person reads of a gate. */
export function renderGateStatus(status: GateStatus, nowMs: number): string {
  const { broker, devices, ready, bans, flooded, counters, windows, windowCount, knocks } = status;
  const { received = 0, accepted = 0, failed = 0, failures = 0, ...refused } = counters;
  const { bans: added = 0, ...reasons } = refused;
  const lines = [
    `gate       running for ${duration(nowMs - status.startedAtMs)}`,
    `server     ${broker === null ? "away: nothing is opened" : `there for ${duration(nowMs - broker.sinceMs)}`}`,
    `devices    ${devices}${ready ? "" : ", their keys are being prepared"}`,
    `knocks     ${received} received, ${accepted} accepted${failed > 0 ? `, ${failed} accepted and not carried out` : ""}`,
    `bans       ${bans} now, ${added} since the start${flooded ? "; a flood: nobody is added" : ""}`,
    ...(failures > 0 ? [`failures   ${failures} failed authentications at the server`] : []),
  ];
  const rows = Object.entries(reasons)
    .sort(([, a], [, b]) => b - a)
    .map(([reason, count]) => `${String(count).padStart(8)}  ${reason}`);
  const open = windows.map(({ device, address, ports, untilMs, uses }) => {
    const who = device ?? "(any device)";
    return `${who.padEnd(24)} ${address.padEnd(24)} port ${ports.join(", ")}  ${duration(untilMs - nowMs)} left, for ${uses} connection${uses === 1 ? "" : "s"}`;
  });
  const more = windowCount > windows.length ? [`and ${windowCount - windows.length} more`] : [];
  const recent = knocks.slice(0, 15).map(({ atMs, source, device, outcome }) => {
    const at = new Date(atMs).toISOString().slice(11, 23);
    return `${at}  ${source.padEnd(24)} ${(device ?? "-").padEnd(24)} ${outcome}`;
  });
  return `${[
    ...lines,
    ...section("refused", rows),
    ...section("open windows", [...open, ...more]),
    ...section("last knocks", recent),
  ].join("\n")}\n`;
}

export function renderBans(
  bans: readonly { readonly source: string; readonly untilMs: number }[],
  total: number,
  nowMs: number,
): string {
  if (total === 0) return "nobody is locked out\n";
  const lines = bans.map(({ source, untilMs }) => `${source.padEnd(28)} ${duration(untilMs - nowMs)} left`);
  const more = total > bans.length ? [`and ${total - bans.length} older ones`] : [];
  return `${[...lines, ...more].join("\n")}\n`;
}
