import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, it } from "node:test";

import { HangJudge, processActivity, type ProcessActivity } from "./heartbeat.ts";

const asleep = { state: "S", ticks: 100 } as const;
const stopped = { state: "T", ticks: 100 } as const;

const works = (beat: number): ProcessActivity => ({ state: "S", ticks: 100 * beat });
const waits = (): ProcessActivity => ({ state: "R", ticks: 0 });
const writes = (): ProcessActivity => ({ state: "D", ticks: 0 });

describe("a hanging process", () => {
  it("is one that was stopped, or sleeps, and does not answer", () => {
    for (const activity of [asleep, stopped, { ...stopped, state: "t" }]) {
      const judge = new HangJudge({ idleBeats: 3, busyBeats: 60 });
      judge.beat(activity);
      judge.answered();
      const beats = Array.from({ length: 5 }, () => judge.beat(activity));
      assert.deepEqual(beats, [false, false, false, false, true]);
    }
  });

  it("is none that answers, however late", () => {
    const judge = new HangJudge({ idleBeats: 3, busyBeats: 3 });
    for (let round = 0; round < 100; round++) {
      for (let beat = 0; beat < 3; beat++) assert.ok(!judge.beat(stopped));
      judge.answered();
    }
  });

  it("is none that works, waits for a processor, or for the disk, unless it may not be busy for ever", () => {
    for (const activity of [works, waits, writes]) {
      const patient = new HangJudge({ idleBeats: 3, busyBeats: Infinity });
      for (let beat = 1; beat < 10_000; beat++) assert.ok(!patient.beat(activity(beat)));
      const impatient = new HangJudge({ idleBeats: 3, busyBeats: 60 });
      const beats = Array.from({ length: 62 }, (_, beat) => impatient.beat(activity(beat + 1)));
      assert.equal(beats.indexOf(true), 61);
    }
  });

  it("is none because it slept between two times of work", () => {
    const judge = new HangJudge({ idleBeats: 3, busyBeats: Infinity });
    for (let beat = 0; beat < 1_000; beat++)
      assert.ok(!judge.beat({ state: "S", ticks: Math.floor(beat / 3) * 10 }));
  });

  it("is none that is gone", () => {
    assert.ok(!new HangJudge({ idleBeats: 0, busyBeats: 0 }).beat(undefined));
  });

  it(
    "is told from a busy one by what the system says of it",
    { skip: process.platform !== "linux" },
    async () => {
      const busy = "console.log(); for (const end = Date.now() + 60_000; Date.now() < end; );";
      const child = spawn(process.execPath, ["-e", busy], { stdio: ["ignore", "pipe", "inherit"] });
      try {
        await once(child.stdout, "data");
        const { pid = 0 } = child;
        const before = processActivity(pid);
        assert.ok(before !== undefined);
        while ((processActivity(pid)?.ticks ?? 0) < before.ticks + 3)
          await new Promise((resolve) => setTimeout(resolve, 10));
        child.kill("SIGSTOP");
        while (processActivity(pid)?.state !== "T") await new Promise((resolve) => setTimeout(resolve, 10));
        assert.deepEqual(processActivity(pid), processActivity(pid));
      } finally {
        child.kill("SIGKILL");
        await once(child, "close");
      }
      assert.equal(processActivity(child.pid ?? 0), undefined);
    },
  );
});
