import { parseSync } from "oxc-parser";

/** One import, re-export or `import()` of a source file. */
export type Import = {
  /** What is named: `node:fs`, `@postern/core/clock`, `./clock.ts`; undefined for an `import()` that computes it. */
  readonly specifier: string | undefined;
  /** The names that are taken from it; undefined where everything may be. */
  readonly names: readonly string[] | undefined;
  readonly line: number;
};

/** A syntax error in a source file. */
class SyntaxFault extends Error {}

/**
 * Everything that `source` imports, type imports too, in the order of the file.
 * `path` decides the language by its extension. Throws `SyntaxFault` when the source cannot be parsed.
 */
export function importsOf(path: string, source: string): Import[] {
  const { module, errors } = parseSync(path, source);
  const [error] = errors;
  if (error !== undefined) throw new SyntaxFault(`${path}: ${error.message}`);

  const found: (Omit<Import, "line"> & { at: number })[] = [];
  for (const { moduleRequest, entries } of module.staticImports) {
    const names = entries.map(({ importName }) => importName.name);
    found.push({ specifier: moduleRequest.value, names: allNamed(names), at: moduleRequest.start });
  }
  for (const { entries } of module.staticExports) {
    const request = entries[0]?.moduleRequest;
    const names = entries.map(({ importName }) => importName.name);
    if (request) found.push({ specifier: request.value, names: allNamed(names), at: request.start });
  }
  for (const { moduleRequest } of module.dynamicImports) {
    const specifier = literal(source.slice(moduleRequest.start, moduleRequest.end));
    found.push({ specifier, names: undefined, at: moduleRequest.start });
  }
  return found
    .sort((a, b) => a.at - b.at)
    .map(({ specifier, names, at }) => ({ specifier, names, line: source.slice(0, at).split("\n").length }));
}

/** `import x`, `import * as x` and `export *` have entries without a name; `import "x"` has no entries. */
function allNamed(names: readonly (string | null | undefined)[]): string[] | undefined {
  const present = names.filter((name) => typeof name === "string");
  return present.length === names.length && names.length > 0 ? present : undefined;
}

function literal(expression: string): string | undefined {
  return /^(["'`])([^"'`$\\]*)\1$/.exec(expression)?.[2];
}
