import { closeSync, openSync, writeFileSync, writeSync } from "node:fs";

import { pcapHeader } from "@postern/zigbee/capture/pcap-writer";
import { recordingPcap, wiresharkKeys } from "@postern/zigbee-sim/recording";
import { scenarios } from "@postern/zigbee-sim/scenarios";
import { Simulation } from "@postern/zigbee-sim/simulation";

/** Devices report so often, so that two in five frames are protected; the others are acknowledgements and polls. */
const intervalSeconds = 2;
const sliceSeconds = 300;

/** What was simulated, for other programs. */
export interface Recording {
  readonly pcap: string;
  /** Keys as `postern zigbee audit --key-file` takes them. */
  readonly keyFile: string;
  readonly frames: number;
}

/** A mesh of ten devices in simulated time, recorded frame by frame until there are so many. Wireshark's keys are in `directory`, too. */
export function record(directory: string, frames: number): Recording {
  const { mesh } = scenarios;
  if (mesh === undefined) throw new TypeError("the simulator comes without its mesh");
  const nodes = mesh.nodes.map((node) => ({ ...node, intervalSeconds }));
  const simulation = new Simulation({ ...mesh, nodes, seconds: sliceSeconds }, 1);
  const pcap = `${directory}/mesh-${frames}.pcap`;
  const file = openSync(pcap, "w");
  const header = pcapHeader();
  writeSync(file, header);
  for (let left = frames, seconds = sliceSeconds; left > 0; seconds += sliceSeconds) {
    simulation.run(seconds);
    const slice = simulation.frames.splice(0).slice(0, left);
    left -= slice.length;
    writeSync(file, recordingPcap(slice).subarray(header.length));
  }
  closeSync(file);
  const keys = wiresharkKeys(simulation);
  writeFileSync(`${directory}/zigbee_pc_keys`, keys);
  const keyFile = `${directory}/keys`;
  writeFileSync(keyFile, keys.replaceAll(/^"([\da-f:]+)".*$/gm, "$1").replaceAll(":", ""));
  return { pcap, keyFile, frames };
}
