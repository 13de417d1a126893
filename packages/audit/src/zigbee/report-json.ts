import { type AuditReport } from "./audit.ts";
import { hex16 } from "./context.ts";

/** Changes when a field changes its meaning or goes away. */
export const auditJsonVersion = 1;

/** The report for programs: plain values, ready for JSON, in which what is `undefined` is left out. `problem` is what ended reading early, if anything did. */
export function auditJson(
  report: AuditReport,
  input: {
    readonly file: string;
    readonly problem: { readonly kind: string; readonly reason: string } | undefined;
  },
): Record<string, unknown> {
  const { networks, ...rest } = report;
  return {
    version: auditJsonVersion,
    file: input.file,
    complete: input.problem === undefined,
    ...(input.problem === undefined ? {} : { problem: input.problem }),
    ...rest,
    networks: networks.map((network) => ({
      pan: hex16(network.pan),
      extendedPans: [...network.extendedPans],
      keySequences: [...network.keySequences],
      devices: [...network.devices.values()].map((device) => ({
        address: device.address,
        shortAddress: device.shortAddress === -1 ? undefined : hex16(device.shortAddress),
        role: device.role,
        frames: device.frames,
        parent: device.parent,
        holdsNetworkKey: device.holdsKey,
        networkKeyFrames: device.keyFrames,
      })),
    })),
  };
}
