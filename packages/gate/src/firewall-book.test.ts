import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { FirewallFullError } from "./errors.ts";
import { FirewallBook } from "./firewall-book.ts";
import { address, source } from "./testing/firewall-suite.ts";

function book(): { book: FirewallBook; pass(seconds: number): void } {
  let now = 0;
  const clock = { wallMs: () => now, monotonicMs: () => now };
  return {
    book: new FirewallBook({ clock, windowsMax: 2, bansMax: 2 }),
    pass: (seconds) => (now += 1_000 * seconds),
  };
}

function opening(last: number): { source: ReturnType<typeof address>; sourcePort: number; port: number } {
  return { source: address(`10.0.0.${last}`), sourcePort: 0, port: 8883 };
}

describe("the book of the firewall", () => {
  it("refuses a window too many, takes one that is open already, and one when another is over", () => {
    const test = book();
    test.book.open(opening(1), 10);
    test.book.open(opening(2), 60);
    assert.throws(() => test.book.open(opening(3), 10), FirewallFullError);
    test.book.open(opening(2), 30);
    test.pass(11);
    test.book.open(opening(3), 10);
    assert.deepEqual(
      test.book.windows().map((window) => [window.source, window.remainingSeconds]),
      [
        ["10.0.0.2", 19],
        ["10.0.0.3", 10],
      ],
    );
  });

  it("lets the oldest ban give way, and says which; a ban that is made again is the youngest", () => {
    const test = book();
    const bans = [1, 2, 3].map((last) => source(`10.0.0.${last}`));
    const [first, second, third] = bans;
    assert.ok(first !== undefined && second !== undefined && third !== undefined);
    assert.equal(test.book.ban(first, 60), undefined);
    assert.equal(test.book.ban(second, 60), undefined);
    assert.equal(test.book.ban(first, 60), undefined);
    assert.equal(test.book.ban(third, 60), second);
    assert.deepEqual(
      test.book.bans().map((ban) => ban.source),
      [first, third],
    );
    test.pass(61);
    assert.equal(test.book.ban(second, 60), undefined);
  });
});
