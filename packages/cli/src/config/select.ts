import { existsSync } from "node:fs";
import { isIP } from "node:net";
import { dirname, join, relative, resolve } from "node:path";

import { UsageError } from "../errors.ts";
import { resolveConfiguration, type Configuration } from "./configuration.ts";
import { loadConfig } from "./read.ts";

const defaultDataDirectory = "./postern-data";

/** The options that say which configuration and which data are meant, as on the command line. */
export interface SelectOptions {
  readonly config?: string | undefined;
  readonly data?: string | undefined;
  readonly bind?: string | undefined;
  /** A gate hides the listeners, where one is configured: then the default ones are for other machines. */
  readonly hidden?: boolean | undefined;
}

export interface Selection {
  readonly configuration: Configuration;
  /** Absolute path of the data directory. */
  readonly data: string;
}

/** The data directory that options without a configuration mean, as an absolute path. */
export function resolveDataDirectory(data: string | undefined, cwd: string): string {
  return resolve(cwd, data ?? defaultDataDirectory);
}

/**
 * The configuration and the data directory that a command line means: the file named, else `postern.yaml` in the data
 * directory, else the defaults; the directory named, else the one the file names, else `./postern-data`.
 * @throws {ConfigError} or {@link UsageError}
 */
export function selectConfiguration({ config, data, bind, hidden }: SelectOptions, cwd: string): Selection {
  if (bind !== undefined && isIP(bind) === 0)
    throw new UsageError(`--bind needs an IP address, not "${bind}"`);
  const standard = join(resolveDataDirectory(data, cwd), "postern.yaml");
  const path = config === undefined ? (existsSync(standard) ? standard : undefined) : resolve(cwd, config);
  if (path === undefined) {
    return {
      configuration: resolveConfiguration(undefined, { bind }),
      data: resolveDataDirectory(data, cwd),
    };
  }
  const file = loadConfig(path, config ?? relative(cwd, path));
  if (bind !== undefined && file.given.listeners !== undefined) {
    throw new UsageError(
      `--bind is for the default listeners, and ${file.file} names its own: change the addresses there`,
    );
  }
  if (path === standard && file.given.data !== undefined) {
    throw file.errorAt(["data"], "data has no meaning in the data directory's own postern.yaml: remove it");
  }
  const configuration = resolveConfiguration(file, { bind, hidden });
  if (data === undefined && configuration.data !== undefined) {
    return { configuration, data: resolve(dirname(path), configuration.data) };
  }
  return { configuration, data: resolveDataDirectory(data, cwd) };
}
