import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { readDirectly } from "./direct-reads.ts";

/** A client and the socket it was accepted as, from which nothing has been read. */
async function pair(
  stack: AsyncDisposableStack,
): Promise<{ readonly client: Socket; readonly accepted: Socket }> {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  stack.defer(() => void server.close());
  const accepting = new Promise<Socket>((resolve) => void server.once("connection", resolve));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const client = connect(address.port, "127.0.0.1");
  stack.defer(() => void client.destroy());
  const accepted = await accepting;
  stack.defer(() => void accepted.destroy());
  return { client, accepted };
}

/** What was read, and a promise of so many bytes. */
class Reader {
  readonly pieces: Buffer[] = [];
  readonly memories = new Set<ArrayBufferLike>();
  #wanted = 0;
  #reached: (() => void) | undefined;

  readonly onBytes = (bytes: Buffer): void => {
    this.pieces.push(Buffer.from(bytes));
    this.memories.add(bytes.buffer);
    if (this.text.length >= this.#wanted) this.#reached?.();
  };

  get text(): string {
    return Buffer.concat(this.pieces).toString();
  }

  async has(count: number): Promise<void> {
    this.#wanted = count;
    if (this.text.length < count) await new Promise<void>((resolve) => (this.#reached = resolve));
  }
}

describe("direct reads", () => {
  it("bring what two sockets read in one piece of memory, with the runtime that the project pins", async () => {
    await using stack = new AsyncDisposableStack();
    const readers = [new Reader(), new Reader()];
    for (const [index, reader] of readers.entries()) {
      const { accepted, client } = await pair(stack);
      assert.ok(readDirectly(accepted, reader.onBytes));
      accepted.resume();
      client.write(`${index}`.repeat(300_000));
    }
    await Promise.all(readers.map((reader) => reader.has(300_000)));
    assert.deepEqual(
      readers.map(({ text }) => text),
      ["0".repeat(300_000), "1".repeat(300_000)],
    );
    const memories = readers.map((reader) => reader.memories);
    assert.deepEqual(
      memories.map(({ size }) => size),
      [1, 1],
    );
    assert.equal([...(memories[0] ?? [])][0], [...(memories[1] ?? [])][0]);
  });

  it("stop while the socket is paused, go on when it is resumed, and say when the other side has ended", async () => {
    await using stack = new AsyncDisposableStack();
    const { client, accepted } = await pair(stack);
    const reader = new Reader();
    assert.ok(
      readDirectly(accepted, (bytes) => {
        reader.onBytes(bytes);
        accepted.pause();
      }),
    );
    accepted.resume();
    client.write("first");
    await reader.has(5);
    client.write("second");
    // Whatever was read would have come before the answer to this.
    const barrier = await pair(stack);
    barrier.client.write("x");
    barrier.accepted.resume();
    await once(barrier.accepted, "data");
    assert.equal(reader.text, "first");
    accepted.resume();
    await reader.has(11);
    assert.equal(reader.text, "firstsecond");
    client.end();
    accepted.resume();
    await once(accepted, "end");
    accepted.write("answer");
    const answered = new Reader();
    client.on("data", answered.onBytes);
    await answered.has(6);
    assert.equal(answered.text, "answer");
  });

  it("are not tried with a runtime that nobody has looked at, which carries large messages as well", async () => {
    const other = `Object.defineProperty(process, "versions", { value: { ...process.versions, node: "25.0.0" } })`;
    const args = ["--test-reporter=tap", `--import=data:text/javascript,${encodeURIComponent(other)}`];
    const directReads = new URL("direct-reads.ts", import.meta.url).href;
    const script = `
      import { connect, createServer } from "node:net";
      import { readDirectly } from "${directReads}";
      const server = createServer((socket) => {
        process.stdout.write(\`read directly: \${readDirectly(socket, () => {})}\\n\`);
        process.exit();
      }).listen(0, "127.0.0.1", () => connect(server.address().port, "127.0.0.1"));`;
    const run = promisify(execFile);
    const asked = await run(process.execPath, [...args.slice(1), "--input-type=module", "--eval", script]);
    assert.equal(asked.stdout, "read directly: false\n");
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const messages = fileURLToPath(new URL("../../test/large-messages.test.ts", import.meta.url));
    const { stdout } = await run(process.execPath, [...args, messages], { env });
    assert.match(stdout, /^# fail 0$/m);
    assert.match(stdout, /^# pass 3$/m);
  });

  it("are not to be had of a socket that has read already, whose bytes come as they always do", async () => {
    await using stack = new AsyncDisposableStack();
    const { client, accepted } = await pair(stack);
    client.write("early");
    await once(accepted, "readable");
    const reader = new Reader();
    assert.equal(readDirectly(accepted, reader.onBytes), false);
    accepted.on("data", reader.onBytes);
    await reader.has(5);
    assert.equal(reader.text, "early");
  });
});
