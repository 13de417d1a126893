import type { ReplayState } from "@postern/knock/spa1/replay-window";
import { z } from "zod";

import { decodeLine, encodeLine } from "./state-file.ts";

/*
 * The file of accepted knocks:
 *
 *   {"postern":1,"file":"accepted-knocks","lostAtMs":null}    first
 *   {"r":["…boot…",from,until]}   packets made in this time may have been accepted though their line is not on the disk
 *   {"r":null}                    no longer: all lines are there
 *   {"u":[from,until]}            the machine stopped while such a reserve was in force
 *   {"c":["pump",1,42,"1f"]}      a device's counters
 *   {"p":["…digest…",until]}      a packet that has no counter
 *
 * Each with its checksum; of several lines about the same, the last counts.
 */

const headerSchema = z.strictObject({
  postern: z.literal(1),
  file: z.literal("accepted-knocks"),
  /** When all that was known was lost, ms since 1970; `null` when nothing was. */
  lostAtMs: z.int().nullable(),
});

const lineSchema = z.union([
  z.strictObject({
    /** Name, key version, highest counter, which of the 64 below it were accepted. */
    c: z.tuple([z.string(), z.int().min(1), z.int().min(0), z.string().regex(/^[0-9a-f]{1,16}$/)]),
  }),
  z.strictObject({ p: z.tuple([z.string().max(128), z.int()]) }),
  z.strictObject({ r: z.tuple([z.string().max(64), z.int(), z.int()]).nullable() }),
  z.strictObject({ u: z.tuple([z.int(), z.int()]) }),
]);
type Line = z.infer<typeof lineSchema>;

/** Of the times the machine lost its power, how many are remembered: one is over when its minute is. */
const unsureMax = 64;

/** A time, both ends in it: ms since 1970. */
export interface Span {
  readonly fromMs: number;
  readonly untilMs: number;
}

export interface DeviceState extends ReplayState {
  readonly keyVersion: number;
}

export interface AcceptedKnocks {
  readonly lostAtMs: number | undefined;
  readonly devices: Map<string, DeviceState>;
  readonly packets: Map<string, number>;
  readonly unsure: readonly Span[];
}

export function headerLine(lostAtMs: number | undefined): string {
  return encodeLine({ postern: 1, file: "accepted-knocks", lostAtMs: lostAtMs ?? null });
}

export function counterLine(device: string, { keyVersion, highest, seen }: DeviceState): string {
  return encodeLine({ c: [device, keyVersion, highest, seen.toString(16)] } satisfies Line);
}

export function packetLine(digest: string, untilMs: number): string {
  return encodeLine({ p: [digest, Math.ceil(untilMs)] } satisfies Line);
}

export function reserveLine(boot: string, reserve: Span | undefined): string {
  return encodeLine({
    r: reserve === undefined ? null : [boot, reserve.fromMs, reserve.untilMs],
  } satisfies Line);
}

export function unsureLine({ fromMs, untilMs }: Span): string {
  return encodeLine({ u: [fromMs, untilMs] } satisfies Line);
}

/**
 * Reads the file; `undefined` when it is damaged. A last line that a crash tore off never counted: nothing was opened for it. After
 * the machine lost its power with a reserve in force, the lines at the end may be anything, and the reserve is unsure.
 */
export function readAccepted(text: string, boot: string): AcceptedKnocks | undefined {
  const lines = text.split("\n");
  lines.pop();
  const header = headerSchema.safeParse(decodeLine(lines.shift() ?? ""));
  if (!header.success) return undefined;
  const devices = new Map<string, DeviceState>();
  const packets = new Map<string, number>();
  const unsure: Span[] = [];
  let reserve: (Span & { readonly boot: string }) | undefined;
  let isTorn = false;
  for (const each of lines) {
    const line = lineSchema.safeParse(decodeLine(each));
    if (!line.success) {
      isTorn = true;
      continue;
    }
    // What is whole again after a line that is not was not torn by a crash.
    if (isTorn) return undefined;
    const { data } = line;
    if ("c" in data) {
      const [device, keyVersion, highest, seen] = data.c;
      devices.set(device, { keyVersion, highest, seen: BigInt(`0x${seen}`) });
    } else if ("p" in data) {
      packets.set(...data.p);
    } else if ("u" in data) {
      const [fromMs, untilMs] = data.u;
      unsure.push({ fromMs, untilMs });
    } else {
      reserve = data.r === null ? undefined : { boot: data.r[0], fromMs: data.r[1], untilMs: data.r[2] };
    }
  }
  // The kernel that took the lines still runs: it has them all.
  if (reserve?.boot === boot) reserve = undefined;
  if (isTorn && reserve === undefined) return undefined;
  if (reserve !== undefined) unsure.push({ fromMs: reserve.fromMs, untilMs: reserve.untilMs });
  return {
    lostAtMs: header.data.lostAtMs ?? undefined,
    devices,
    packets,
    unsure: unsure.slice(-unsureMax),
  };
}
