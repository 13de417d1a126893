import { builtinModules } from "node:module";
import { posix } from "node:path";

import { importsOf, type Import } from "./imports.ts";
import type { Manifest } from "./repository.ts";

/** What a package may import in its product code. */
export type Layer = {
  /** Our packages. */
  readonly ours: readonly string[];
  /** The modules of the runtime it may use, each with the names it may take from it; absent: all. */
  readonly builtins?: Builtins;
};

type Builtins = Readonly<Record<string, "everything" | readonly string[]>>;

/** A package as the check sees it. */
export type PackageSources = {
  readonly folder: string;
  readonly manifest: Pick<Manifest, "dependencies" | "devDependencies">;
  /** Source text by path from the package's folder, such as `src/clock.ts`. */
  readonly files: ReadonlyMap<string, string>;
};

const scope = "@postern/";

/**
 * Everything that breaks `table`, one sentence each; empty when all is well.
 * The table stands from top to bottom: a package may only name packages below it. Tests and `testing` modules may
 * use every package below theirs and development dependencies, their own and those in `sharedDevDependencies`.
 */
export function layerViolations(
  table: Readonly<Record<string, Layer>>,
  packages: readonly PackageSources[],
  sharedDevDependencies: readonly string[],
): string[] {
  const order = Object.keys(table);
  const faults = [...tableFaults(table, packages)];
  for (const { folder, manifest, files } of packages) {
    const layer = table[folder];
    if (layer === undefined) continue;
    const below = order.slice(order.indexOf(folder) + 1);
    const product: Allowed = {
      ours: layer.ours,
      builtins: layer.builtins,
      declared: Object.keys(manifest.dependencies),
    };
    const test: Allowed = {
      ours: below,
      builtins: undefined,
      declared: [...product.declared, ...Object.keys(manifest.devDependencies), ...sharedDevDependencies],
    };
    for (const name of product.declared) {
      if (name.startsWith(scope) && !layer.ours.includes(name.slice(scope.length))) {
        faults.push(`packages/${folder}/package.json: depends on ${name}, which its layer may not use`);
      }
    }
    for (const [path, source] of files) {
      const isTest = isTestCode(path);
      for (const found of importsOf(path, source)) {
        const fault = importFault(path, found, isTest ? test : product, isTest);
        if (fault !== undefined) faults.push(`packages/${folder}/${path}:${found.line}: ${fault}`);
      }
    }
  }
  return faults;
}

type Allowed = {
  readonly ours: readonly string[];
  readonly builtins: Builtins | undefined;
  readonly declared: readonly string[];
};

function* tableFaults(
  table: Readonly<Record<string, Layer>>,
  packages: readonly PackageSources[],
): Iterable<string> {
  const order = Object.keys(table);
  const folders = packages.map(({ folder }) => folder);
  for (const folder of folders) {
    if (!order.includes(folder)) yield `packages/${folder} has no line in the layer table`;
  }
  for (const [index, folder] of order.entries()) {
    if (!folders.includes(folder))
      yield `the layer table names ${folder}, but packages/${folder} is not there`;
    for (const other of table[folder]?.ours ?? []) {
      if (order.indexOf(other) <= index) {
        yield `the layer table lets ${folder} use ${other}, which does not stand below it`;
      }
    }
  }
}

/** Code that never runs in the product: tests, their fixtures, and what is exported for other packages' tests. */
function isTestCode(path: string): boolean {
  return /\.test\.ts$|^test\/|^src\/testing(\/|\.ts$)/.test(path);
}

function importFault(
  path: string,
  { specifier, names }: Import,
  allowed: Allowed,
  fromTest: boolean,
): string | undefined {
  if (specifier === undefined) return "imports a module whose name is computed";
  if (specifier.startsWith(".")) return relativeFault(path, specifier, fromTest);
  if (specifier.startsWith("/") || /^(file|data|https?):/.test(specifier)) {
    return `imports ${specifier}: only relative paths and packages are portable`;
  }
  if (specifier.startsWith("node:")) {
    return builtinFault(specifier, names, allowed.builtins);
  }
  if (builtinModules.includes(specifier)) return `imports ${specifier}: write node:${specifier}`;
  return specifier.startsWith(scope)
    ? ourFault(specifier, allowed, fromTest)
    : thirdPartyFault(specifier, allowed);
}

function builtinFault(
  specifier: string,
  names: readonly string[] | undefined,
  builtins: Builtins | undefined,
): string | undefined {
  if (builtins === undefined) return undefined;
  const permitted = builtins[specifier.slice("node:".length)];
  if (permitted === "everything") return undefined;
  if (permitted === undefined) return `imports ${specifier}, which its layer may not use`;
  if (names?.every((name) => permitted.includes(name)) === true) return undefined;
  return `imports more of ${specifier} than its layer may use: ${permitted.join(", ")}`;
}

function relativeFault(path: string, specifier: string, fromTest: boolean): string | undefined {
  const target = posix.join(posix.dirname(path), specifier);
  if (target.startsWith("../")) return `imports ${specifier}, which is outside its package`;
  if (!fromTest && isTestCode(target)) return `imports ${specifier}, which is there for tests only`;
  return undefined;
}

function ourFault(specifier: string, allowed: Allowed, fromTest: boolean): string | undefined {
  const [folder, file] = specifier.slice(scope.length).split("/");
  if (folder === undefined || file === undefined || file === "src") {
    return `imports ${specifier}: write ${scope}<package>/<file>`;
  }
  if (!fromTest && file === "testing") return `imports ${specifier}, which is there for tests only`;
  if (!allowed.ours.includes(folder)) return `imports ${specifier}, which its layer may not use`;
  return undeclared(`${scope}${folder}`, allowed);
}

function thirdPartyFault(specifier: string, allowed: Allowed): string | undefined {
  const parts = specifier.split("/");
  return undeclared(parts.slice(0, specifier.startsWith("@") ? 2 : 1).join("/"), allowed);
}

function undeclared(name: string, allowed: Allowed): string | undefined {
  if (allowed.declared.includes(name) || allowed.declared.includes(`@types/${name}`)) return undefined;
  return `imports ${name}, which its package.json does not declare`;
}
