import { type Finding, frameRanges } from "../finding.ts";
import { escaped } from "../html.ts";
import { type AuditReport } from "./audit.ts";
import { hex16 } from "./context.ts";
import { type SeenNetwork } from "./inventory.ts";
import { networkMap } from "./network-map.ts";

const style = `
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; background: #fff }
h1, h2, h3 { line-height: 1.2; overflow-wrap: anywhere } table { border-collapse: collapse; margin: .5rem 0 } td, th { text-align: left; padding: .15rem .8rem .15rem 0; vertical-align: top }
article { border-left: 6px solid #888; padding: .2rem 1rem; margin: 1.2rem 0 } article.critical, article.high { border-color: #b00020 }
article.medium { border-color: #b26a00 } code { font-size: .85em; overflow-wrap: anywhere } svg { max-width: 100%; height: auto }
line { stroke: #888 } circle { stroke: #1a1a1a; fill: #fff } circle.holder { fill: #2a6fb0 } text { font-size: 11px; text-anchor: middle; paint-order: stroke; stroke: #fff; stroke-width: 3px } .address { fill: #555 }
`;

/**
 * The report as one HTML page that needs nothing else: no script, no picture, no address outside. `problem`: why the capture
 * was not read to its end.
 */
export function auditHtml(
  report: AuditReport,
  input: { readonly file: string; readonly problem: string | undefined },
): string {
  const title = escaped(`Zigbee audit of ${input.file}`);
  const seconds = report.durationUs === undefined ? "" : `, ${(report.durationUs / 1e6).toFixed(3)} s`;
  const notes = [
    ...(input.problem === undefined ? [] : [`Not read to its end: ${input.problem}.`]),
    ...report.notes,
  ];
  return [
    "<!doctype html>",
    `<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">`,
    `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`,
    `<title>${title}</title><style>${style}</style></head><body>`,
    `<h1>${title}</h1>`,
    `<p>${report.frames} frames${seconds}; ${report.openedFrames} of ${report.securedFrames} protected frames opened.</p>`,
    ...notes.map((note) => `<p>${escaped(note)}</p>`),
    `<h2>${report.findings.length === 0 ? "No findings" : `${report.findings.length} findings`}</h2>`,
    ...report.findings.map(findingHtml),
    ...report.networks.map(networkHtml),
    ...(report.keys.length === 0 ? [] : ["<h2>Keys found</h2><ul>"]),
    ...report.keys.map(
      ({ key, use, origin }) => `<li>${use}: <code>${escaped(key)}</code> (${escaped(origin)})</li>`,
    ),
    ...(report.keys.length === 0 ? [] : ["</ul>"]),
    "</body></html>",
    "",
  ].join("\n");
}

function findingHtml(finding: Finding): string {
  const rows: readonly (readonly [name: string, text: string])[] = [
    ["where", finding.subject],
    ["seen", finding.summary],
    ["frames", frameRanges(finding.frames)],
    ["confidence", finding.confidence],
    ["see", `thesis ${finding.thesis}; OWASP ISVS ${finding.isvs.join(", ")}`],
    ["mend", finding.mend],
  ];
  const evidence = finding.evidence.map(({ frame, fields, bytes }) => {
    const text = Object.entries(fields).map(([name, value]) => `${name} ${value}`);
    return `<li>frame ${frame}: ${escaped(text.join(", "))}<br><code>${escaped(bytes)}</code></li>`;
  });
  return [
    `<article class="${finding.severity}"><h3>${finding.severity}: ${escaped(finding.title)}${finding.known === true ? " (known)" : ""}</h3>`,
    `<p><code>${escaped(finding.id)}</code></p><table>`,
    ...rows.map(([name, text]) => `<tr><th>${name}</th><td>${escaped(text)}</td></tr>`),
    `</table><details><summary>Evidence</summary><ul>${evidence.join("\n")}</ul></details></article>`,
  ].join("\n");
}

function networkHtml(network: SeenNetwork): string {
  const devices = [...network.devices.values()].map((device) => {
    const cells = [
      device.address,
      device.shortAddress === -1 ? "" : hex16(device.shortAddress),
      device.role ?? "",
      device.parent ?? "",
      device.holdsKey
        ? "yes"
        : device.keyFrames.length > 0
          ? `given in frame ${frameRanges(device.keyFrames)}`
          : "",
      String(device.frames),
    ];
    return `<tr>${cells.map((cell) => `<td>${escaped(cell)}</td>`).join("")}</tr>`;
  });
  const heads = ["address", "short", "role", "parent", "network key", "frames"];
  return [
    `<h2>Network ${hex16(network.pan)}</h2>`,
    network.extendedPans.size === 0 ? "" : `<p>Extended PAN id ${[...network.extendedPans].join(", ")}</p>`,
    networkMap(network),
    "<p>A filled circle holds the network key; lines lead to parents.</p>",
    `<table><tr>${heads.map((head) => `<th>${head}</th>`).join("")}</tr>`,
    ...devices,
    "</table>",
  ].join("\n");
}
