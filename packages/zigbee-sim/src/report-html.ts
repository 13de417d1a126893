import { escaped } from "@postern/audit/html";

import { type Measurements } from "./measurements.ts";
import { type Device } from "./node/device.ts";
import { measurementLines } from "./report-text.ts";
import { type Simulation } from "./simulation.ts";
import { type Happening } from "./truth.ts";

export const pageStyle = `
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; background: #fff }
h1, h2 { line-height: 1.2 } table { border-collapse: collapse; margin: .5rem 0 } td, th { text-align: left; padding: .15rem .8rem .15rem 0; vertical-align: top }
svg { max-width: 100%; height: auto } text { font-size: 11px } .middle { text-anchor: middle } .link { stroke: #888 } .grid { stroke: #ddd }
.coordinator { fill: #2a6fb0 } .router { fill: #6ca6d9 } .end-device { fill: #fff } circle { stroke: #1a1a1a } .outside { stroke-dasharray: 3 }
.network { fill: #2a6fb0; color: #2a6fb0 } .attack { fill: #b00020; color: #b00020 } .harm { fill: #d9822b; color: #b26a00 } .defence { fill: #2e7d32; color: #2e7d32 }
`;

const margin = 60;
const pixelsEachMetre = 6;

/** Where the devices stand, and who is whose parent. */
function topologyPicture(devices: readonly Device[]): string {
  const xs = devices.map(({ plan }) => plan.x);
  const ys = devices.map(({ plan }) => plan.y);
  const left = Math.min(...xs);
  const top = Math.min(...ys);
  const width = (Math.max(...xs) - left) * pixelsEachMetre + 2 * margin;
  const height = (Math.max(...ys) - top) * pixelsEachMetre + 2 * margin;
  const place = ({ plan }: Device): { readonly x: number; readonly y: number } => ({
    x: Math.round((plan.x - left) * pixelsEachMetre + margin),
    y: Math.round((plan.y - top) * pixelsEachMetre + margin),
  });
  const lines = devices.flatMap((device) => {
    const parent = devices.find((other) => other.place.short === device.place.parent && other.isMember);
    if (parent === undefined || parent === device) return [];
    const from = place(device);
    const to = place(parent);
    return [`<line class="link" x1="${from.x}" y1="${from.y}" x2="${to.x}" y2="${to.y}"/>`];
  });
  const circles = devices.map((device) => {
    const { x, y } = place(device);
    const { name, kind, address } = device.plan;
    const short = device.isMember ? `0x${device.place.short.toString(16).padStart(4, "0")}` : "outside";
    const state = device.isMember ? "" : " outside";
    return [
      `<circle class="${kind}${state}" cx="${x}" cy="${y}" r="11"><title>${address}</title></circle>`,
      `<text class="middle" x="${x}" y="${y + 25}">${escaped(name)}</text>`,
      `<text class="middle" x="${x}" y="${y + 38}">${short}</text>`,
    ].join("");
  });
  return `<svg viewBox="0 0 ${width} ${height}" width="${width}" role="img" aria-label="Topology">${lines.join("")}${circles.join("")}</svg>`;
}

const rowPixels = 18;
const labelPixels = 120;
const timelinePixels = 900;

/** What happened when, a row for each device; messages that did not arrive are marked too. */
function timelinePicture({ truth, scenario }: Simulation): string {
  const names = [
    ...new Set([...scenario.nodes.map(({ name }) => name), ...truth.happenings.map(({ who }) => who)]),
  ];
  const height = rowPixels * (names.length + 1) + 10;
  const x = (us: number): number => Math.round(labelPixels + (us / 1e6 / scenario.seconds) * timelinePixels);
  const rows = names.map((name, index) => {
    const y = rowPixels * (index + 1);
    return [
      `<text x="0" y="${y + 4}">${escaped(name)}</text>`,
      `<line class="grid" x1="${labelPixels}" y1="${y}" x2="${labelPixels + timelinePixels}" y2="${y}"/>`,
    ].join("");
  });
  const marks = truth.happenings.map(({ atUs, who, what, kind }) => {
    const y = rowPixels * (names.indexOf(who) + 1);
    const title = `${(atUs / 1e6).toFixed(3)} s: ${what}`;
    return `<rect class="${kind}" x="${x(atUs) - 2}" y="${y - 6}" width="4" height="12"><title>${escaped(title)}</title></rect>`;
  });
  const lost = truth.messages
    .filter(({ deliveredUs, sentUs }) => deliveredUs === undefined && sentUs < (scenario.seconds - 5) * 1e6)
    .map(({ source, sentUs }) => {
      const y = rowPixels * (names.indexOf(source) + 1);
      return `<circle class="harm" cx="${x(sentUs)}" cy="${y}" r="3"><title>a message did not arrive</title></circle>`;
    });
  const ticks = Array.from({ length: 7 }, (_, index) => {
    const seconds = Math.round((scenario.seconds * index) / 6);
    return `<text class="middle" x="${x(seconds * 1e6)}" y="${height - 2}">${seconds} s</text>`;
  });
  const width = labelPixels + timelinePixels + 30;
  return `<svg viewBox="0 0 ${width} ${height}" width="${width}" role="img" aria-label="Time line">${[...rows, ...marks, ...lost, ...ticks].join("")}</svg>`;
}

function happeningRow({ atUs, who, what, kind }: Happening): string {
  return `<tr class="${kind}"><td>${(atUs / 1e6).toFixed(3)} s</td><td>${escaped(who)}</td><td>${escaped(what)}</td></tr>`;
}

const happeningsShown = 400;

/** One page that needs nothing else: numbers, topology, time line. */
export function simulationHtml(simulation: Simulation, measured: Measurements, seed: number): string {
  const { scenario, devices, truth } = simulation;
  const title = escaped(`Simulation of ${scenario.name}, seed ${seed}`);
  const shown = truth.happenings.slice(0, happeningsShown);
  const rest = truth.happenings.length - shown.length;
  return [
    "<!doctype html>",
    `<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">`,
    `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`,
    `<title>${title}</title><style>${pageStyle}</style></head><body><h1>${title}</h1>`,
    `<table>${measurementLines(measured)
      .map(([name, value]) => `<tr><th>${escaped(name)}</th><td>${escaped(value)}</td></tr>`)
      .join("")}</table>`,
    "<h2>Topology at the end</h2>",
    topologyPicture(devices),
    "<p>Lines lead to parents; a dashed circle is outside the network.</p>",
    "<h2>Time line</h2>",
    timelinePicture(simulation),
    `<p><span class="network">Blue: the network; </span><span class="attack">red: an attacker; </span><span class="harm">orange: what it led to, and messages that did not arrive; </span><span class="defence">green: a defence.</span></p>`,
    `<table>${shown.map(happeningRow).join("\n")}</table>`,
    rest > 0 ? `<p>and ${rest} more.</p>` : "",
    "</body></html>",
    "",
  ].join("\n");
}
