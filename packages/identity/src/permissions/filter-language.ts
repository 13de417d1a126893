/**
 * Topic filters as languages: the set of topic names that a filter matches. A filter is given as its levels.
 * @see MQTT 5.0 §4.7
 */
export type FilterLevels = readonly string[];

const single = "+";
const multi = "#";

/** A leading wildcard matches no topic that begins with `$`. @see MQTT 5.0 [MQTT-4.7.2-1] */
export function isReserved(level: string | undefined, depth: number): boolean {
  return depth === 0 && level?.startsWith("$") === true;
}

/**
 * Whether every topic that `asked` matches is matched by at least one of `grants`. Exact, also when only several grants together
 * cover what is asked: a level `+` stands for infinitely many names, of which the grants spell out finitely many, so literal
 * levels of grants never help to cover it; what is left is one walk along the levels with the grants that still fit.
 */
export function covers(grants: readonly FilterLevels[], asked: FilterLevels): boolean {
  let fitting = grants;
  for (const [depth, level] of asked.entries()) {
    if (level === multi) return coversRest(fitting, depth, isNoTopic(asked, depth));
    const reserved = isReserved(level, depth);
    if (!reserved && fitting.some((grant) => grant[depth] === multi)) return true;
    fitting = fitting.filter((grant) =>
      grant[depth] === single ? !reserved : grant[depth] === level && level !== single,
    );
    if (fitting.length === 0) return false;
  }
  const { length } = asked;
  return fitting.some((grant) => endsAt(grant, length) || grant[length] === multi);
}

/** The levels before `length` spell no topic at all, or the empty one, which is none. @see MQTT 5.0 [MQTT-4.7.3-1] */
export function isNoTopic(levels: FilterLevels, length: number): boolean {
  return length === 0 || (length === 1 && levels[0] === "");
}

/**
 * Whether the grants cover any number of levels from `start` on: `a/#` matches `a`, `a/b`, `a/b/c`, …; with `fromOne` at
 * least one level more.
 */
function coversRest(grants: readonly FilterLevels[], start: number, fromOne: boolean): boolean {
  let fitting = grants;
  for (let depth = start; fitting.length > 0; depth += 1) {
    const at = depth;
    if (fitting.some((grant) => grant[at] === multi)) return true;
    if (!(fromOne && at === start) && !fitting.some((grant) => endsAt(grant, at))) return false;
    fitting = fitting.filter((grant) => grant[at] === single);
  }
  return false;
}

function endsAt(grant: FilterLevels, length: number): boolean {
  return grant.length === length;
}

/** Whether some topic is matched by both filters. */
export function intersects(a: FilterLevels, b: FilterLevels): boolean {
  for (let depth = 0; ; depth += 1) {
    const left = a[depth];
    const right = b[depth];
    if (left === multi || right === multi) {
      const other = left === multi ? right : left;
      return other === undefined ? !isNoTopic(a, depth) && !isNoTopic(b, depth) : !isReserved(other, depth);
    }
    if (left === undefined || right === undefined) return left === right;
    if (left === single ? isReserved(right, depth) : right === single && isReserved(left, depth))
      return false;
    if (left !== single && right !== single && left !== right) return false;
  }
}
