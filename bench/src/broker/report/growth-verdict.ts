import { number } from "./table.ts";

/** Up to this factor a cost counts as the same: measurements are no better. */
export const flatFactor = 1.5;
/** How much more than the logarithm of the count a cost may grow to count as logarithmic. */
export const logarithmFactor = 1.3;

/**
 * What a figure does along a curve: `values` of `counts`. The first point is left out: what a server takes once is shared by few
 * there.
 */
export function growthVerdict(counts: readonly number[], values: readonly number[]): string {
  const [, from] = values;
  const to = values.at(-1);
  const [, fewest = 1] = counts;
  const most = counts.at(-1) ?? 1;
  if (from === undefined || to === undefined || values.length < 3) return "has too few points to say";
  if (Math.abs(from) < 1e-9) return "is nothing at first";
  const factor = to / from;
  if (factor < 1 / flatFactor) return "falls";
  if (factor <= flatFactor) return "is flat";
  if (factor <= (Math.log(most) / Math.log(fewest)) * logarithmFactor) return "is logarithmic at the most";
  return `grows: ${number(factor, 1)} times as much, for ${number(most / fewest, 0)} times as many`;
}
