/** Orders topic filters, the more exact one first: level by level, a name before `+` before `#`. */
export function compareExactness(a: string, b: string): number {
  const [left, right] = [a.split("/"), b.split("/")];
  for (let level = 0; level < Math.max(left.length, right.length); level++) {
    const difference = vagueness(left[level]) - vagueness(right[level]);
    if (difference !== 0) return difference;
  }
  return 0;
}

function vagueness(level: string | undefined): number {
  if (level === "#") return 2;
  return level === "+" ? 1 : 0;
}
