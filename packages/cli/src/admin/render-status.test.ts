import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { Status } from "./protocol.ts";
import { formatBytes, formatDuration, printable, renderStatus } from "./render-status.ts";

const status: Status = {
  version: "1.2.3",
  pid: 7,
  workers: 3,
  threads: 3,
  data: "/srv/data",
  startedAt: "2027-01-01T00:00:00.000Z",
  uptimeSeconds: 90_061,
  logLevel: "info",
  memoryBytes: 98_000_000,
  listeners: [{ name: "web", url: "wss://127.0.0.1:8884", connections: 1_200 }],
  clients: { connected: 1_200, connections: 1_201 },
  sessions: { total: 1_300, disconnected: 100, subscriptions: 5 },
  queues: {
    messages: 3,
    bytes: 1_500,
    memoryBytes: 0,
    largest: [{ clientId: "a\u001b[31m\nb", owner: "press-7", connected: false, messages: 3, bytes: 1_500 }],
  },
  retained: { messages: 0, bytes: 0 },
  rates: { publishReceived: 12.5 },
  counters: {
    publishReceived: 1_000,
    publishDropped: 2,
    queueDropped: 3,
    connectRefused: 4,
    connectionsRefused: 5,
  },
  authentication: {
    failures: { certificate: 0, password: 1_200, token: 0, psk: 0, permission: 3 },
    refused: 4,
    sources: 1,
    worst: [{ source: "192.0.2.7", failures: 12, waitMs: 64_000 }],
    passwordsWaiting: 0,
    passwordsTurnedAway: 2,
  },
  permissions: {
    file: "/srv/permissions.yaml",
    state: "good",
    roles: ["administrator", "device"],
    loadedAt: "2027-01-01T00:00:00.000Z",
  },
  certificates: [
    { name: "server", notAfter: "2027-04-01T00:00:00.000Z", daysLeft: 3, warning: true },
    { name: "device a", notAfter: "2026-12-01T00:00:00.000Z", daysLeft: -31, warning: true },
  ],
};

function withPermissions(permissions: Partial<Status["permissions"]>): string {
  return renderStatus({ ...status, permissions: { ...status.permissions, ...permissions } });
}

describe("status for people", () => {
  it("has a line for each thing", () => {
    assert.equal(
      renderStatus(status),
      `server        Postern 1.2.3, process 7, up 1 d 1 h, 98.0 MB of memory
              data in /srv/data, log level info
              connections on 3 threads
listeners     wss://127.0.0.1:8884 (web): 1,200 connections
clients       1,200 connected
sessions      1,300, 100 of them disconnected, 5 subscriptions
queues        3 messages, 1.5 KB; 0 B in memory
                3 messages, 1.5 KB for "a?[31m?b" of press-7, disconnected
retained      0 messages, 0 B
last minute   12.5 messages/s in, 0 messages/s out
              0 B/s in, 0 B/s out
since start   1,000 messages in, 0 out, 2 dropped at slow readers, 3 from full queues, 9 connections refused
permissions   2 roles (administrator, device), in force since 2027-01-01T00:00:00Z
failures      1,200 by password, 3 by permission; 4 attempts put off, 2 turned away while passwords were waiting
              addresses that failed of late: 1
                192.0.2.7: 12, 1 min 4 s to wait
certificates  server: 3 days left (2027-04-01), EXPIRES SOON
              device a: EXPIRED 2026-12-01T00:00:00.000Z
`,
    );
  });

  it("says loudly that a permissions file is not in force, and that nobody may do anything", () => {
    assert.match(
      withPermissions({ problem: "f:3: unknown key" }),
      /NOT IN FORCE, and to be mended: f:3: unknown key\n/,
    );
    assert.match(
      withPermissions({ state: "missing", roles: [] }),
      /NOBODY MAY DO ANYTHING: .*permissions\.yaml is missing\n/,
    );
  });

  it("says loudly that nothing can be stored", () => {
    assert.match(
      renderStatus({ ...status, storeFailure: "the disk is full" }),
      /CANNOT STORE: the disk is full/,
    );
  });

  it("says on how many threads connections are, and on how many they may be", () => {
    assert.match(
      renderStatus({ ...status, threads: 1 }),
      /^ +connections on 1 thread, up to 3 as they are needed$/m,
    );
    assert.doesNotMatch(renderStatus({ ...status, workers: 1, threads: 1 }), /thread/);
  });

  it("writes sizes and times in the units that fit", () => {
    assert.deepEqual([0, 999, 1_000, 1_234_567, 5e9, 7.2e15].map(formatBytes), [
      "0 B",
      "999 B",
      "1.0 KB",
      "1.2 MB",
      "5.0 GB",
      "7200.0 TB",
    ]);
    assert.deepEqual([0, 59, 60, 3_601, 86_400, 90_061].map(formatDuration), [
      "0 s",
      "59 s",
      "1 min",
      "1 h",
      "1 d",
      "1 d 1 h",
    ]);
  });

  it("lets no text of a client act on the terminal", () => {
    assert.equal(printable("a\u0007\u009b2J\u202eb\r\n"), "a??2J?b??");
    assert.equal(printable("über/µ"), "über/µ");
  });
});
