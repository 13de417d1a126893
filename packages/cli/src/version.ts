import manifest from "../package.json" with { type: "json" };

/** The version of this Postern: all packages share one. */
export const version: string = manifest.version;
