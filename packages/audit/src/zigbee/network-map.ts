import { type Eui64 } from "@postern/zigbee/eui64";

import { hex16 } from "./context.ts";
import { type SeenDevice, type SeenNetwork } from "./inventory.ts";

/** More would not be readable; the table beside the map has them all. */
const devicesMax = 60;
const columnPixels = 150;
const rowPixels = 90;
const marginPixels = 60;

/**
 * A picture of a network in SVG: each device a row below its parent, whose parent is not known below the coordinator (routers) or at
 * the bottom; lines lead to parents; a filled circle holds the network key. Holds addresses only, so there is nothing to escape.
 */
export function networkMap(network: SeenNetwork): string {
  const devices = [...network.devices.values()].slice(0, devicesMax);
  const rows = rowsOf(devices);
  const width = 2 * marginPixels + columnPixels * Math.max(1, ...rows.map(({ length }) => length));
  const height = 2 * marginPixels + rowPixels * Math.max(0, rows.length - 1);
  const places = new Map<Eui64, { readonly x: number; readonly y: number }>();
  for (const [row, members] of rows.entries()) {
    const step = (width - columnPixels / 3) / members.length;
    // Children stand in the order of their parents, so that lines cross as little as can be.
    const wanted = (device: SeenDevice) => places.get(device.parent ?? device.address)?.x ?? width;
    for (const [column, { address }] of members.toSorted((a, b) => wanted(a) - wanted(b)).entries()) {
      // Rows are shifted, so that a line to a row further up does not run behind a circle in between.
      const shift = row % 2 === 0 ? 0 : columnPixels / 3;
      places.set(address, {
        x: Math.round(step * (column + 0.5) + shift),
        y: marginPixels + rowPixels * row,
      });
    }
  }
  const lines: string[] = [];
  for (const { address, parent } of devices) {
    const from = places.get(address);
    const to = parent === undefined ? undefined : places.get(parent);
    if (from === undefined || to === undefined) continue;
    lines.push(`<line x1="${from.x}" y1="${from.y}" x2="${to.x}" y2="${to.y}"/>`);
  }
  const circles = devices.map((device) => circle(device, places.get(device.address) ?? { x: 0, y: 0 }));
  const title = `Map of network ${hex16(network.pan)}`;
  return [
    `<svg viewBox="0 0 ${width} ${height}" width="${width}" role="img" aria-label="${title}">`,
    ...lines,
    ...circles,
    "</svg>",
  ].join("\n");
}

/** Devices by how many parents lead up from them. */
function rowsOf(devices: readonly SeenDevice[]): SeenDevice[][] {
  const byAddress = new Map(devices.map((device) => [device.address, device]));
  const depths = new Map<SeenDevice, number>();
  const depthOf = (device: SeenDevice): number | undefined => {
    let depth = 0;
    let top = device;
    for (const seen = new Set<SeenDevice>(); !seen.has(top);) {
      seen.add(top);
      const parent = top.parent === undefined ? undefined : byAddress.get(top.parent);
      if (parent === undefined) break;
      top = parent;
      depth++;
    }
    if (top.role === "coordinator") return depth;
    return top.role === "router" ? depth + 1 : depth > 0 ? depth + 1 : undefined;
  };
  for (const device of devices) {
    const depth = depthOf(device);
    if (depth !== undefined) depths.set(device, depth);
  }
  const bottom = Math.max(0, ...depths.values()) + 1;
  const rows: SeenDevice[][] = [];
  for (const device of devices) (rows[depths.get(device) ?? bottom] ??= []).push(device);
  return rows.filter((row) => row.length > 0);
}

function circle(device: SeenDevice, { x, y }: { readonly x: number; readonly y: number }): string {
  const kind = device.holdsKey || device.keyFrames.length > 0 ? "holder" : "other";
  const short = device.shortAddress === -1 ? "" : `${hex16(device.shortAddress)} `;
  const label = `${short}${device.role ?? ""}`.trim();
  return [
    `<circle class="${kind}" cx="${x}" cy="${y}" r="12"><title>${device.address}</title></circle>`,
    `<text x="${x}" y="${y + 26}">${label}</text>`,
    `<text x="${x}" y="${y + 40}" class="address">${device.address.slice(-11)}</text>`,
  ].join("");
}
