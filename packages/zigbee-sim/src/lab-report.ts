import { escaped } from "@postern/audit/html";

import {
  type AttackSummary,
  type Condition,
  conditions,
  type ConditionSummary,
  type Estimate,
} from "./lab.ts";
import { pageStyle } from "./report-html.ts";
import { quantity } from "./report-text.ts";

/** What each condition is called in tables. */
const conditionNames: Readonly<Record<Condition, string>> = {
  calm: "no attack",
  attacked: "attack",
  defended: "attack and defence",
};

/** A mean with its confidence, as people write it: `12.3 ± 0.4`. */
function estimateText({ mean, halfWidth }: Estimate, digits: number, factor = 1): string {
  if (!Number.isFinite(mean)) return "-";
  const value = quantity(factor * mean, digits);
  return Number.isFinite(halfWidth) ? `${value} ± ${quantity(factor * halfWidth, digits)}` : value;
}

/** What is said of one condition, in the order of the columns. */
const columns: readonly (readonly [name: string, cell: (summary: ConditionSummary) => string])[] = [
  ["harm", ({ harm }) => estimateText(harm, 1)],
  ["delivery %", ({ delivery }) => estimateText(delivery, 1, 100)],
  ["latency ms", ({ latencyMedianMs }) => estimateText(latencyMedianMs, 1)],
  ["battery days", ({ batteryDays }) => estimateText(batteryDays, 1)],
  ["children", ({ childrenPeak }) => estimateText(childrenPeak, 0)],
  ["broadcasts", ({ broadcastTablePeak }) => estimateText(broadcastTablePeak, 0)],
  ["keys learnt", ({ keysLearnt }) => estimateText(keysLearnt, 0)],
  ["read %", ({ readShare }) => estimateText(readShare, 0, 100)],
];

/** `86 % of the harm prevented`. */
function worth({ prevented }: AttackSummary): string {
  return Number.isFinite(prevented)
    ? `${(100 * prevented).toFixed(0)} % of the harm prevented`
    : "the attack did no harm here";
}

/** The table for a terminal: for each attack the defence, what it bought, and a line for each condition. */
export function labText(summaries: readonly AttackSummary[]): string {
  const lines: string[] = [];
  for (const summary of summaries) {
    const { attack } = summary;
    lines.push(
      `${attack.id}: ${attack.title}`,
      `  thesis   ${attack.thesis}`,
      `  harm     ${attack.harm.name}${attack.harm.unit === "" ? "" : `, ${attack.harm.unit}`}`,
      `  defence  ${attack.defence}: ${worth(summary)}`,
    );
    const rows = [
      ["", ...columns.map(([name]) => name)],
      ...conditions.map((condition) => [
        conditionNames[condition],
        ...columns.map(([, cell]) => cell(summary.conditions[condition])),
      ]),
    ];
    const widths = rows[0]?.map((_, index) => Math.max(...rows.map((row) => row[index]?.length ?? 0))) ?? [];
    for (const row of rows) {
      const cells = row.map((text, index) =>
        index === 0 ? text.padEnd(widths[0] ?? 0) : text.padStart(widths[index] ?? 0),
      );
      lines.push(`  ${cells.join("  ")}`.trimEnd());
    }
    lines.push("");
  }
  const seeds = summaries[0]?.seeds ?? 0;
  const confidence = seeds > 1 ? `means of ${seeds} seeds ± 95 % confidence` : "one seed: no confidence";
  lines.push(`${confidence}; battery and radio are computed, not measured.`, "");
  return lines.join("\n");
}

/** The summaries as values for JSON; what could not be measured is `null`. */
export function labJson(summaries: readonly AttackSummary[]): unknown {
  return summaries.map(({ attack, seeds, conditions: byCondition, prevented }) => ({
    id: attack.id,
    title: attack.title,
    thesis: attack.thesis,
    defence: attack.defence,
    harm: attack.harm.name,
    unit: attack.harm.unit,
    rules: attack.rules,
    seeds,
    conditions: byCondition,
    prevented,
  }));
}

const barPixels = 260;

/** Three bars: the harm without attack, with it, and with the defence. */
function harmBars({ conditions: byCondition, attack }: AttackSummary): string {
  const most = Math.max(1e-9, ...conditions.map((condition) => byCondition[condition].harm.mean));
  const kinds: Readonly<Record<Condition, string>> = {
    calm: "network",
    attacked: "attack",
    defended: "defence",
  };
  const bars = conditions.map((condition, index) => {
    const width = Math.max(1, Math.round((byCondition[condition].harm.mean / most) * barPixels));
    const y = 22 * index;
    return `<rect class="${kinds[condition]}" x="130" y="${y + 3}" width="${width}" height="14"/><text x="0" y="${y + 14}">${conditionNames[condition]}</text>`;
  });
  return `<svg viewBox="0 0 420 70" width="420" role="img" aria-label="${escaped(attack.harm.name)}">${bars.join("")}</svg>`;
}

function attackHtml(summary: AttackSummary): string {
  const { attack } = summary;
  const rows = conditions.map((condition) => {
    const cells = columns.map(([, cell]) => `<td>${cell(summary.conditions[condition])}</td>`);
    return `<tr><th>${conditionNames[condition]}</th>${cells.join("")}</tr>`;
  });
  return [
    `<h2 id="${attack.id}">${escaped(attack.title)}</h2>`,
    `<p>Thesis ${escaped(attack.thesis)}. Harm: ${escaped(attack.harm.name)}${attack.harm.unit === "" ? "" : `, ${attack.harm.unit}`}.</p>`,
    `<p class="defence">Defence: ${escaped(attack.defence)}. ${worth(summary)}.</p>`,
    harmBars(summary),
    `<table><tr><th></th>${columns.map(([name]) => `<th>${name}</th>`).join("")}</tr>${rows.join("")}</table>`,
  ].join("\n");
}

/** The table as one page that needs nothing else. */
export function labHtml(summaries: readonly AttackSummary[]): string {
  const overview = summaries.map((summary) => {
    const { attack, conditions: by } = summary;
    const cells = conditions.map((condition) => `<td>${estimateText(by[condition].harm, 1)}</td>`);
    return `<tr><td><a href="#${attack.id}">${attack.id}</a></td><td>${escaped(attack.harm.name)}</td>${cells.join("")}<td>${worth(summary)}</td></tr>`;
  });
  const heads = [
    "attack",
    "harm",
    ...conditions.map((condition) => conditionNames[condition]),
    "worth of the defence",
  ];
  return [
    "<!doctype html>",
    `<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">`,
    `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`,
    `<title>Zigbee lab: attacks and defences</title><style>${pageStyle}</style></head><body>`,
    `<h1>Attacks on Zigbee networks, and what defences are worth</h1>`,
    `<p>Means of ${summaries[0]?.seeds ?? 0} seeds ± 95 % confidence, simulated. Battery and radio are computed, not measured.</p>`,
    `<table><tr>${heads.map((head) => `<th>${head}</th>`).join("")}</tr>${overview.join("\n")}</table>`,
    ...summaries.map(attackHtml),
    "</body></html>",
    "",
  ].join("\n");
}
