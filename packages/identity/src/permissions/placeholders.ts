/** What a filter of a rule may name of the client it is applied to. */
const placeholders = ["device", "client", "group", "tenant"] as const;
export type Placeholder = (typeof placeholders)[number];

/** A piece of one level of a filter: text as it stands, or a placeholder. */
export type LevelPart =
  | { readonly text: string; readonly placeholder: undefined }
  | { readonly text: undefined; readonly placeholder: Placeholder };

/** A filter's levels in pieces, or what is wrong with its placeholders. */
export function levelsWithPlaceholders(filter: string): readonly (readonly LevelPart[])[] | string {
  const levels: LevelPart[][] = [];
  for (const level of filter.split("/")) {
    const parts: LevelPart[] = [];
    for (const piece of level.split(/(\$\{[^}]*\}?)/)) {
      if (piece === "") continue;
      if (!piece.startsWith("${")) {
        parts.push({ text: piece, placeholder: undefined });
        continue;
      }
      const placeholder = placeholders.find((known) => piece === `\${${known}}`);
      if (placeholder === undefined)
        return `must name one of ${placeholders.map((known) => `\${${known}}`).join(", ")}`;
      parts.push({ text: undefined, placeholder });
    }
    levels.push(parts);
  }
  return levels;
}

/** The values for one client; a group has a value for each group the client is in. */
export interface PlaceholderValues {
  readonly device: string;
  /** `undefined` stands for any client id at all, for what is asked of an identity as a whole. */
  readonly client: string | undefined;
  readonly tenant: string | undefined;
  readonly group: string | undefined;
}

/**
 * Why a value must not stand in a filter: it would be read as more than one level or as a wildcard, or make the filter one of
 * the server's own topics. `undefined` when it may.
 */
function valueProblem(value: string, isFirst: boolean): string | undefined {
  if (value === "") return "is empty";
  if (/[+#/\0]/.test(value)) return "holds one of + # / or NUL";
  return isFirst && value.startsWith("$") ? "begins with $" : undefined;
}

export type Bound =
  | { readonly kind: "bound"; readonly levels: readonly string[] }
  /** `level` is the index of the level that could not be bound. */
  | {
      readonly kind: "refused";
      readonly level: number;
      readonly placeholder: Placeholder;
      readonly reason: string;
    };

/** Puts values into a filter. A level with an open `${client}` becomes `+`, which is what any client id could make of it. */
export function bind(levels: readonly (readonly LevelPart[])[], values: PlaceholderValues): Bound {
  const bound: string[] = [];
  for (const [index, parts] of levels.entries()) {
    let text = "";
    let open = false;
    for (const part of parts) {
      if (part.placeholder === undefined) {
        text += part.text;
        continue;
      }
      const { placeholder } = part;
      const value = values[placeholder];
      if (value === undefined && placeholder === "client") {
        open = true;
        continue;
      }
      const reason = value === undefined ? "has no value" : valueProblem(value, index === 0 && text === "");
      if (value === undefined || reason !== undefined)
        return { kind: "refused", level: index, placeholder, reason: reason ?? "" };
      text += value;
    }
    bound.push(open ? "+" : text);
  }
  return { kind: "bound", levels: bound };
}
