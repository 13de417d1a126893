import type { Curve } from "./report.ts";

type Point = Curve["points"][number];

const lines: readonly {
  readonly name: string;
  readonly colour: string;
  readonly value: (point: Point) => number | undefined;
}[] = [
  { name: "CPU µs each", colour: "#1a7f5a", value: ({ microsecondsEach }) => microsecondsEach },
  { name: "memory each, bytes", colour: "#3c6eb4", value: ({ bytesEach }) => bytesEach },
  {
    name: "CPU µs for a message",
    colour: "#d9822b",
    value: ({ messageMicroseconds }) => messageMicroseconds,
  },
  { name: "CPU µs for a client", colour: "#b4a33c", value: ({ more }) => more?.["clientMicroseconds"] },
  {
    name: "CPU µs each, at a start",
    colour: "#8a63b8",
    value: ({ more }) => more?.["restartMicrosecondsEach"],
  },
];
const across = 3;
const panel = { width: 290, height: 210 } as const;
const box = { left: 40, top: 34, width: 235, height: 140 } as const;
const legendHeight = 34;
/** Of all panels, so that they can be compared: below and above it nothing is shown. */
const lowest = 0.1;
const highest = 100_000;

/** All curves beside each other, both axes logarithmic (SVG). */
export function growthPlot(curves: readonly Curve[]): string {
  const rows = Math.ceil(curves.length / across);
  const size = { width: across * panel.width + 10, height: legendHeight + rows * panel.height + 4 };
  const style = `text { font: 11px sans-serif; fill: #222 } .small { font-size: 9px; fill: #555 }`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" role="img" aria-label="Costs along the curves">`,
    `<style>${style}</style>`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    ...lines.flatMap(({ name, colour }, index) => {
      const x = 14 + index * 172;
      return [
        `<line x1="${x}" x2="${x + 18}" y1="16" y2="16" stroke="${colour}" stroke-width="2"/>`,
        `<text x="${x + 23}" y="20">${name}</text>`,
      ];
    }),
    ...curves.flatMap((curve, index) => [
      `<g transform="translate(${(index % across) * panel.width} ${legendHeight + Math.floor(index / across) * panel.height})">`,
      ...panelOf(curve),
      "</g>",
    ]),
    "</svg>\n",
  ].join("\n");
}

function panelOf({ name, points }: Curve): string[] {
  const counts = points.map(({ count }) => count);
  const fewest = 10 ** Math.floor(Math.log10(Math.min(...counts)));
  const most = 10 ** Math.ceil(Math.log10(Math.max(...counts, fewest * 10)));
  const x = (count: number): string => (box.left + box.width * share(count, fewest, most)).toFixed(1);
  const y = (value: number): string =>
    (box.top + box.height * (1 - share(value, lowest, highest))).toFixed(1);
  const parts = [`<text x="${box.left}" y="${box.top - 10}">${name}</text>`];
  for (let value = lowest; value <= highest * 1.01; value *= 10)
    parts.push(
      `<line x1="${box.left}" x2="${box.left + box.width}" y1="${y(value)}" y2="${y(value)}" stroke="#ddd"/>`,
      `<text x="${box.left - 4}" y="${(Number(y(value)) + 3).toFixed(1)}" text-anchor="end" class="small">${short(value)}</text>`,
    );
  for (let count = fewest; count <= most * 1.01; count *= 10)
    parts.push(
      `<line x1="${x(count)}" x2="${x(count)}" y1="${box.top}" y2="${box.top + box.height}" stroke="#eee"/>`,
      `<text x="${x(count)}" y="${box.top + box.height + 12}" text-anchor="middle" class="small">${short(count)}</text>`,
    );
  for (const { colour, value } of lines) {
    const places = points.flatMap((point) => {
      const at = value(point);
      return at === undefined || at < lowest || at > highest ? [] : [{ x: x(point.count), y: y(at) }];
    });
    if (places.length === 0) continue;
    parts.push(
      `<polyline points="${places.map((place) => `${place.x},${place.y}`).join(" ")}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      ...places.map((place) => `<circle cx="${place.x}" cy="${place.y}" r="2.5" fill="${colour}"/>`),
    );
  }
  return parts;
}

/** Where a value is between two, on a logarithmic scale from 0 to 1. */
function share(value: number, low: number, high: number): number {
  return Math.log10(value / low) / Math.log10(high / low);
}

function short(value: number): string {
  const rounded = Number(value.toPrecision(1));
  if (rounded >= 1_000_000) return `${rounded / 1_000_000} M`;
  return rounded >= 1_000 ? `${rounded / 1_000} k` : String(rounded);
}
