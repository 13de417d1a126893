import { type Finding, frameRanges } from "../finding.ts";
import { type AuditReport } from "./audit.ts";
import { hex16 } from "./context.ts";

/** Frame numbers of a finding that are written out; a longer list is cut. */
const rangesCharactersMax = 200;
const evidenceShown = 3;
const devicesShown = 50;

/** The report for people, in lines of text. Whatever stands in it that came from the air is hexadecimal or a number. */
export function auditText(report: AuditReport, name: string): string {
  const lines: string[] = [];
  const seconds = report.durationUs === undefined ? "" : `, ${(report.durationUs / 1e6).toFixed(3)} s`;
  lines.push(`${name}: ${report.frames} frames${seconds}`);
  if (report.securedFrames > 0) {
    lines.push(`Protected frames opened: ${report.openedFrames} of ${report.securedFrames}`);
  }
  for (const network of report.networks) {
    lines.push("", `Network ${hex16(network.pan)}`);
    if (network.extendedPans.size > 0)
      lines.push(`  extended PAN id ${[...network.extendedPans].join(", ")}`);
    for (const device of [...network.devices.values()].slice(0, devicesShown)) {
      const short = device.shortAddress === -1 ? "      " : hex16(device.shortAddress);
      lines.push(
        `  ${device.address}  ${short}  ${(device.role ?? "device").padEnd(11)}  ${device.frames} frames`,
      );
    }
    const more = network.devices.size - devicesShown;
    if (more > 0) lines.push(`  and ${more} more`);
  }
  if (report.keys.length > 0) {
    lines.push("", "Keys found");
    for (const { key, use, origin } of report.keys) lines.push(`  ${use}: ${key} (${origin})`);
  }
  lines.push("", report.findings.length === 0 ? "No findings." : `${report.findings.length} findings`);
  for (const finding of report.findings) lines.push("", ...findingLines(finding));
  if (report.notes.length > 0) lines.push("", ...report.notes.map((note) => `Note: ${note}`));
  return `${lines.join("\n")}\n`;
}

function findingLines(finding: Finding): string[] {
  const ranges = frameRanges(finding.frames);
  const cut = ranges.length > rangesCharactersMax ? `${ranges.slice(0, rangesCharactersMax)}…` : ranges;
  const lines = [
    `${finding.severity.toUpperCase()}  ${finding.id}  ${finding.title}${finding.known === true ? " (known)" : ""}`,
    `  where       ${finding.subject}`,
    `  seen        ${finding.summary}`,
    `  frames      ${cut}`,
  ];
  for (const { frame, fields } of finding.evidence.slice(0, evidenceShown)) {
    const shown = Object.entries(fields).map(([name, value]) => `${name} ${value}`);
    lines.push(`  evidence    ${frame}: ${shown.join(", ")}`);
  }
  lines.push(
    `  confidence  ${finding.confidence}`,
    `  see         thesis ${finding.thesis}; OWASP ISVS ${finding.isvs.join(", ")}`,
    `  mend        ${finding.mend}`,
  );
  return lines;
}
