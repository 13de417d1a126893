import { parseSync, Visitor, type Class } from "oxc-parser";

/** A class that extends `PosternError`, directly or not, and can be thrown. */
export type ErrorClass = {
  readonly name: string;
  readonly path: string;
  /** The literal of its `code`, its own or inherited; undefined when there is none. */
  readonly code: string | undefined;
};

type Found = ErrorClass & { readonly parent: string; readonly abstract: boolean };

/** Every error class in `sources` (text by path), sorted by name. Classes are told apart by name. */
export function errorClasses(sources: ReadonlyMap<string, string>): ErrorClass[] {
  const found = new Map<string, Found>();
  for (const [path, source] of sources) {
    const note = (node: Class): void => {
      if (node.superClass?.type !== "Identifier" || node.id === null) return;
      const { name } = node.id;
      found.set(name, {
        name,
        path,
        code: codeOf(node),
        parent: node.superClass.name,
        abstract: node.abstract === true,
      });
    };
    new Visitor({ ClassDeclaration: note, ClassExpression: note }).visit(parseSync(path, source).program);
  }

  const isError = (name: string): boolean => {
    const parent = found.get(name)?.parent;
    return parent === "PosternError" || (parent !== undefined && isError(parent));
  };
  const inherited = (name: string): string | undefined => {
    const it = found.get(name);
    return it === undefined ? undefined : (it.code ?? inherited(it.parent));
  };
  return [...found.values()]
    .filter(({ name, abstract }) => !abstract && isError(name))
    .map(({ name, path }) => ({ name, path, code: inherited(name) }))
    .sort((a, b) => a.name.localeCompare(b.name));
}

/** The literal of `readonly code = "…"`, with or without `as const`. */
function codeOf(node: Class): string | undefined {
  for (const member of node.body.body) {
    if (
      member.type !== "PropertyDefinition" ||
      member.key.type !== "Identifier" ||
      member.key.name !== "code"
    )
      continue;
    const value = member.value?.type === "TSAsExpression" ? member.value.expression : member.value;
    if (value?.type === "Literal" && typeof value.value === "string") return value.value;
  }
  return undefined;
}
