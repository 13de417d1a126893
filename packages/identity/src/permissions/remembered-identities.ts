import { z } from "zod";

import { Journal } from "../journal.ts";
import type { Attributes } from "./authorizer.ts";

/** Identities that are remembered; the one that was longest not seen with other roles gives way. */
const rememberedMax = 100_000;
/** Lines that newer lines replaced may outnumber the others by so much before they go. */
const staleMax = 10_000;

const entrySchema = z.strictObject({
  name: z.string().min(1),
  roles: z.array(z.string()),
  groups: z.array(z.string()),
});
type Entry = z.infer<typeof entrySchema>;

/**
 * The roles and groups of those who are not in the device registry, as whoever vouched for them said last: what they left behind
 * (sessions, wills, retained messages) is judged by it while they are away, also after a restart. One process at a time may open it.
 */
export class RememberedIdentities implements Disposable {
  readonly #journal: Journal;
  /** By name, the longest remembered first. */
  readonly #entries = new Map<string, Entry>();

  /** @throws {PkiFileError} when the file is damaged. */
  constructor(path: string) {
    this.#journal = new Journal({
      path,
      header: { postern: 1, file: "identities" },
      title: "the list of identities from outside",
      take: (entry) => this.#keep(entrySchema.parse(entry)),
    });
  }

  attributesOf(name: string): Attributes | undefined {
    const entry = this.#entries.get(name);
    return entry === undefined ? undefined : { roles: entry.roles, groups: entry.groups, tenant: undefined };
  }

  /** On disk when this returns. @throws {DataDirectoryError} when the disk refuses; it is remembered until the server stops. */
  remember(name: string, roles: readonly string[], groups: readonly string[]): void {
    const entry = { name, roles: [...roles], groups: [...groups] };
    if (JSON.stringify(this.#entries.get(name)) === JSON.stringify(entry)) return;
    this.#keep(entry);
    if (this.#journal.entries - this.#entries.size > staleMax) this.#journal.rewrite(this.#entries.values());
    else this.#journal.append(entry);
  }

  [Symbol.dispose](): void {
    this.#journal.close();
  }

  #keep(entry: Entry): void {
    this.#entries.delete(entry.name);
    const [oldest] = this.#entries.keys();
    if (this.#entries.size >= rememberedMax && oldest !== undefined) this.#entries.delete(oldest);
    this.#entries.set(entry.name, entry);
  }
}
