/**
 * `npm run build [-- DIRECTORY]`: the package that is published, in `dist/postern` unless told otherwise.
 *
 *     bin/postern.js     for any Node, as in the sources
 *     dist/postern.js    the program; one file for each thread and for what a command loads when it runs
 *     LICENSE, THIRD-PARTY-LICENSES.txt, README.md, CHANGELOG.md, package.json
 */
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";

import { build, type Metafile } from "esbuild";

import { find, manifestAt, root } from "./repository.ts";
import { licencesOf } from "./third-party.ts";

/** The oldest Node that runs a release; `packages/cli/bin/postern.js` refuses older ones. */
const nodeMin = "24.12";

/** Packages with native code stay outside of the bundle and are installed beside it. */
const external = ["koffi", "lmdb"];

/** What CommonJS modules inside of the bundle expect to find around them. */
const commonJsShim = [
  `import { createRequire as __createRequire } from "node:module";`,
  `import { dirname as __dirnameOf } from "node:path";`,
  `import { fileURLToPath as __fileOf } from "node:url";`,
  `const require = __createRequire(import.meta.url);`,
  `const __filename = __fileOf(import.meta.url);`,
  `const __dirname = __dirnameOf(__filename);`,
].join("\n");

/** The program, and each module that runs as a thread (`…-thread.ts`): they are started by name. */
function entryPoints(): { in: string; out: string }[] {
  const threads = find("packages/*/src/**/*-thread.ts");
  return [
    { in: join(root, "packages/cli/src/main.ts"), out: "postern" },
    ...threads.map((path) => ({ in: join(root, path), out: basename(path, ".ts") })),
  ];
}

async function bundle(directory: string): Promise<Metafile> {
  const { metafile } = await build({
    entryPoints: entryPoints(),
    outdir: join(directory, "dist"),
    absWorkingDir: root,
    bundle: true,
    splitting: true,
    chunkNames: "[name]-[hash]",
    platform: "node",
    format: "esm",
    target: `node${nodeMin}`,
    external,
    banner: { js: commonJsShim },
    // The names of error classes are shown to people.
    keepNames: true,
    legalComments: "none",
    metafile: true,
    logLevel: "warning",
  });
  return metafile;
}

function publishedManifest(): object {
  const { version, description } = manifestAt("package.json");
  const dependencies = find("packages/*/package.json").map((path) => manifestAt(path).dependencies);
  return {
    name: "postern",
    version,
    description,
    license: "Apache-2.0",
    type: "module",
    bin: { postern: "bin/postern.js" },
    engines: { node: `>=${nodeMin}` },
    os: ["linux", "darwin"],
    dependencies: Object.fromEntries(
      external.map((name) => {
        const wanted = dependencies.find((table) => name in table)?.[name];
        if (wanted === undefined) throw new Error(`no package depends on ${name}`);
        return [name, wanted];
      }),
    ),
  };
}

async function main(directory: string): Promise<void> {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const metafile = await bundle(directory);
  cpSync(join(root, "packages/cli/bin"), join(directory, "bin"), { recursive: true });
  for (const file of ["LICENSE", "README.md", "CHANGELOG.md"])
    cpSync(join(root, file), join(directory, file));
  writeFileSync(join(directory, "THIRD-PARTY-LICENSES.txt"), licencesOf(root, Object.keys(metafile.inputs)));
  writeFileSync(join(directory, "package.json"), `${JSON.stringify(publishedManifest(), undefined, 2)}\n`);

  const sizes = Object.values(metafile.outputs).map(({ bytes }) => bytes);
  const total = sizes.reduce((sum, bytes) => sum + bytes, 0);
  console.log(`${directory}: ${sizes.length} files, ${(total / 1_048_576).toFixed(1)} MB`);
}

await main(resolve(process.argv[2] ?? join(root, "dist", "postern")));
