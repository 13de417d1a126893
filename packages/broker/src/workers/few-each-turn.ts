/** Does some jobs at once, and what is too much for one turn of the event loop in the turns after it, in order. */
export class FewEachTurn {
  readonly #countMax: number;
  #left: number;
  #waiting: (() => void)[] = [];
  #turn: NodeJS.Immediate | undefined = undefined;

  constructor(countMax: number) {
    this.#countMax = countMax;
    this.#left = countMax;
  }

  do(job: () => void): void {
    this.#turn ??= setImmediate(() => this.#nextTurn());
    if (this.#left === 0) {
      this.#waiting.push(job);
      return;
    }
    this.#left -= 1;
    job();
  }

  close(): void {
    clearImmediate(this.#turn);
    this.#waiting = [];
  }

  #nextTurn(): void {
    const jobs = this.#waiting.splice(0, this.#countMax);
    this.#left = this.#countMax - jobs.length;
    this.#turn = jobs.length === 0 ? undefined : setImmediate(() => this.#nextTurn());
    for (const job of jobs) job();
  }
}
