import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseIpAddress, parseIpSource, type IpAddress, type IpSource } from "@postern/knock/ip-address";

import type { Firewall } from "../firewall.ts";

/** A firewall that hides `port`, with what it does to those who connect. */
export interface FirewallUnderTest extends AsyncDisposable {
  readonly firewall: Firewall;
  readonly port: number;
  /** Two sources of each family. */
  readonly ipv4: readonly [client: string, stranger: string];
  readonly ipv6: readonly [client: string, stranger: string];
  /** Whether a new connection from there is answered; `sourcePort` 0 for any that is free. */
  connects(source: IpAddress, sourcePort: number): Promise<boolean>;
  /** Lets time pass. */
  wait(ms: number): Promise<void>;
  /** A source port that is free. */
  readonly freeSourcePort: () => number;
}

export function address(text: string): IpAddress {
  const found = parseIpAddress(text);
  assert.ok(found, text);
  return found;
}

export function source(text: string): IpSource {
  const found = parseIpSource(text);
  assert.ok(found, text);
  return found;
}

/** What every firewall does for the gate. */
export function firewallSuite(
  name: string,
  skip: string | undefined,
  create: () => Promise<FirewallUnderTest>,
): void {
  describe(`${name}: what the gate asks of a firewall`, skip === undefined ? {} : { skip }, () => {
    for (const family of ["ipv4", "ipv6"] as const) {
      it(`opens a port for one source only and only as long as asked (${family})`, async () => {
        await using test = await create();
        const { firewall, port } = test;
        const [client, stranger] = test[family].map(address);
        assert.ok(client !== undefined && stranger !== undefined);
        assert.equal(await test.connects(client, 0), false);
        await firewall.openWindow({ source: client, sourcePort: 0, ports: [port] }, 1);
        assert.equal(await test.connects(client, 0), true);
        assert.equal(await test.connects(stranger, 0), false);
        const [window] = await firewall.listWindows();
        assert.deepEqual(
          { ...window, remainingSeconds: 0 },
          { source: client, sourcePort: 0, port, remainingSeconds: 0 },
        );
        assert.ok((window?.remainingSeconds ?? 9) <= 1);
        await test.wait(1_050);
        assert.equal(await test.connects(client, 0), false);
        assert.deepEqual(await firewall.listWindows(), []);
      });

      it(`opens for one source port (${family})`, async () => {
        await using test = await create();
        const { firewall, port } = test;
        const client = address(test[family][0]);
        const sourcePort = test.freeSourcePort();
        await firewall.openWindow({ source: client, sourcePort, ports: [port] }, 30);
        assert.equal(await test.connects(client, test.freeSourcePort()), false);
        assert.equal(await test.connects(client, sourcePort), true);
      });

      it(`bans a source, opens for it all the same where a window is, and lifts the ban (${family})`, async () => {
        await using test = await create();
        const { firewall, port } = test;
        const client = address(test[family][0]);
        const banned = source(test[family][0]);
        await firewall.ban(banned, 60);
        const [ban] = await firewall.listBans();
        assert.equal(ban?.source, banned);
        assert.ok((ban?.remainingSeconds ?? 0) > 58 && (ban?.remainingSeconds ?? 99) <= 60);
        assert.equal(await test.connects(client, 0), false);
        await firewall.openWindow({ source: client, sourcePort: 0, ports: [port] }, 30);
        assert.equal(await test.connects(client, 0), true);
        await firewall.unban(banned);
        assert.deepEqual(await firewall.listBans(), []);
      });
    }

    it("gives a window that is opened again its new time, longer or shorter", async () => {
      await using test = await create();
      const { firewall, port } = test;
      const target = { source: address(test.ipv4[0]), sourcePort: 0, ports: [port] };
      await firewall.openWindow(target, 20);
      await firewall.openWindow(target, 60);
      const [longer, ...none] = await firewall.listWindows();
      assert.ok((longer?.remainingSeconds ?? 0) > 50);
      assert.deepEqual(none, []);
      await firewall.openWindow(target, 10);
      const [shorter] = await firewall.listWindows();
      assert.ok((shorter?.remainingSeconds ?? 99) <= 10);
    });

    it("gives a ban that is made again its new time", async () => {
      await using test = await create();
      await test.firewall.ban(source(test.ipv6[0]), 20);
      await test.firewall.ban(source(test.ipv6[0]), 21_600);
      const bans = await test.firewall.listBans();
      assert.equal(bans.length, 1);
      assert.ok((bans[0]?.remainingSeconds ?? 0) > 21_500);
    });

    it("closes a window at once", async () => {
      await using test = await create();
      const { firewall, port } = test;
      const client = address(test.ipv4[0]);
      const target = { source: client, sourcePort: 0, ports: [port] };
      await firewall.openWindow(target, 30);
      await firewall.closeWindow(target);
      assert.equal(await test.connects(client, 0), false);
      assert.deepEqual(await firewall.listWindows(), []);
    });

    it("does nothing when it closes what is not open, or lifts what is not banned", async () => {
      await using test = await create();
      const { firewall, port } = test;
      await firewall.closeWindow({ source: address(test.ipv4[0]), sourcePort: 7, ports: [port] });
      await firewall.unban(source(test.ipv6[0]));
      assert.deepEqual(await firewall.listWindows(), []);
      assert.deepEqual(await firewall.listBans(), []);
    });

    it("makes changes in the order they were asked for", async () => {
      await using test = await create();
      const { firewall, port } = test;
      const target = { source: address(test.ipv4[0]), sourcePort: 0, ports: [port, 1] };
      await Promise.all([
        firewall.openWindow(target, 30),
        firewall.closeWindow(target),
        firewall.openWindow({ ...target, ports: [1] }, 30),
        firewall.ban(source(test.ipv4[0]), 30),
        firewall.unban(source(test.ipv4[0])),
      ]);
      assert.deepEqual(
        (await firewall.listWindows()).map((window) => window.port),
        [1],
      );
      assert.deepEqual(await firewall.listBans(), []);
    });
  });
}
