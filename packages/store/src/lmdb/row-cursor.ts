import { keyNumber } from "./keys.ts";
import type { Row } from "./database.ts";

/**
 * Walks a range of rows in step with the sessions they belong to, so that several ranges are read side by side in
 * one pass each.
 */
export class RowCursor implements Disposable {
  readonly #rows: Iterator<Row>;
  #next: IteratorResult<Row>;

  constructor(rows: Iterable<Row>) {
    this.#rows = rows[Symbol.iterator]();
    this.#next = this.#rows.next();
  }

  /** The rows of `session`, which is above all sessions asked for before; rows of sessions in between are passed over. */
  *of(session: number): Generator<Row, void> {
    while (this.#next.done !== true) {
      const number = keyNumber(this.#next.value.key);
      if (number > session) return;
      if (number === session) yield this.#next.value;
      this.#next = this.#rows.next();
    }
  }

  [Symbol.dispose](): void {
    this.#rows.return?.();
  }
}
