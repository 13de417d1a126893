import type { Summary } from "./summary.ts";

const colours: Readonly<Record<string, string>> = {
  postern: "#1a7f5a",
  mosquitto: "#3c6eb4",
  nats: "#8a63b8",
  rabbitmq: "#d9822b",
  aedes: "#b4a33c",
  relay: "#9aa0a6",
};
const otherColour = "#555555";
const left = 190;
const width = 560;
const barHeight = 11;
const gap = 10;
const top = 46;

/** Processor time for each message by scenario and peer, as bars on a logarithmic scale (SVG). */
export function cpuPlot(summaries: readonly Summary[], title: string): string {
  const shown = summaries.filter(({ cpuMicroseconds }) => cpuMicroseconds !== undefined);
  const scenarios = [...new Set(shown.map(({ scenario }) => scenario))];
  const values = shown.map(({ cpuMicroseconds = 1 }) => cpuMicroseconds);
  const low = 10 ** Math.floor(Math.log10(Math.min(...values, 1)));
  const high = 10 ** Math.ceil(Math.log10(Math.max(...values, 10)));
  const x = (value: number): number => left + (width * Math.log10(value / low)) / Math.log10(high / low);
  const parts: string[] = [];
  let y = top;
  for (const scenario of scenarios) {
    const bars = shown.filter((summary) => summary.scenario === scenario);
    const middle = y + (bars.length * barHeight) / 2 + 4;
    parts.push(`<text x="${left - 8}" y="${middle}" text-anchor="end">${scenario}</text>`);
    for (const { peer, cpuMicroseconds = low } of bars) {
      const to = x(Math.max(cpuMicroseconds, low * 1.05));
      parts.push(
        `<rect x="${left}" y="${y}" width="${(to - left).toFixed(1)}" height="${barHeight - 1}" fill="${colours[peer] ?? otherColour}"/>`,
        `<text x="${(to + 4).toFixed(1)}" y="${y + 9}" class="small">${peer} ${cpuMicroseconds.toFixed(2)}</text>`,
      );
      y += barHeight;
    }
    y += gap;
  }
  const lines: string[] = [];
  for (let value = low; value <= high * 1.001; value *= 10)
    lines.push(
      `<line x1="${x(value)}" x2="${x(value)}" y1="${top - 6}" y2="${y}" stroke="#ddd"/>`,
      `<text x="${x(value)}" y="${top - 10}" text-anchor="middle" class="small">${Number(value.toPrecision(1))} µs</text>`,
    );
  const style = `text { font: 12px sans-serif; fill: #222 } .small { font-size: 9px; fill: #555 }`;
  const box = `0 0 ${left + width + 110} ${y + 10}`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${box}" role="img" aria-label="${title}">`,
    `<style>${style}</style>`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    `<text x="10" y="18">${title}</text>`,
    ...lines,
    ...parts,
    "</svg>\n",
  ].join("\n");
}
