import { eui64Bytes, type Eui64, parseEui64 } from "@postern/zigbee/eui64";
import { joined } from "@postern/zigbee/security/mmo-hash";
import * as build from "@postern/zigbee/testing";

/** Numbers that are the same in every run (xorshift). */
export class FixedRandom {
  #state: number;

  /** Not 0. */
  constructor(seed: number) {
    this.#state = seed;
  }

  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % limit;
  }

  pick<T>(values: readonly T[], otherwise: T): T {
    return values[this.below(values.length)] ?? otherwise;
  }
}

const { unhex } = build;
const nothing = new Uint8Array(0);

function address(text: string): Eui64 {
  const parsed = parseEui64(text);
  if (parsed === undefined) throw new RangeError(`${text} is not an address`);
  return parsed;
}

const device = address("00:15:8d:00:00:00:00:02");
const centre = address("00:12:4b:00:00:00:00:01");
const pan = 0x1a62;

/** The keys that the frames are protected with; given to the reader. */
export const mutantKeys = {
  network: unhex("5f1e2d3c4b5a69788796a5b4c3d2e1f0"),
  link: unhex("9a8b7c6d5e4f30211203948576675849"),
};

/** What a frame can say, before anything is damaged: something for every decoder there is. */
const nwkCommands: readonly string[] = [
  "01 00 05 0000 00",
  "02 05 0000 970b 00",
  "03 00 970b 01",
  "04 80",
  "05 02 970b 5b1a",
  "06 8e",
  "07 970b 00",
  "08 42 970b 11 5b1a 33",
  "09 01 0100500049495302 00 621a",
  "0a 00 0100500049495302 01 731b",
  "0b 03 0e00",
];
const apsCommands: readonly Uint8Array[] = [
  build.transportKey(1, mutantKeys.network, device, centre),
  build.transportKey(4, mutantKeys.link, device, centre),
  build.transportKey(3, mutantKeys.link, device, centre),
  joined(unhex("01"), eui64Bytes(device), eui64Bytes(centre), mutantKeys.link),
  joined(unhex("02"), eui64Bytes(device), eui64Bytes(centre), mutantKeys.network),
  joined(unhex("06"), eui64Bytes(device), unhex("970b 01")),
  joined(unhex("07"), eui64Bytes(device)),
  joined(unhex("08 04"), eui64Bytes(device)),
  unhex("09 01"),
  joined(unhex("0e"), eui64Bytes(device), build.apsCommand(unhex("0901"))),
  joined(unhex("0f 04"), eui64Bytes(device), mutantKeys.link),
  joined(unhex("10 00 04"), eui64Bytes(device)),
];
const applications: readonly Uint8Array[] = [
  build.apsData(),
  build.apsData({ cluster: 0x0402 }, unhex("18 01 0a 0000 29 6608")),
  build.apsData({ cluster: 0 }, unhex("18 02 01 0400 00 42 05 6d616b6572 0500 86")),
  build.apsData({ cluster: 0 }, unhex("04 5f11 03 00 0400")),
  build.apsData({ profile: 0, cluster: 0x0013, endpoint: 0 }, unhex("01 970b 0200000000 8d1500 8e")),
  build.apsData({ profile: 0, cluster: 0x0036, endpoint: 0 }, unhex("02 fe 01")),
  build.apsData({ profile: 0, cluster: 0x8002, endpoint: 0 }, unhex("03 00 970b 0140 8e 5f11 52 5200")),
  build.apsData({ profile: 0, cluster: 0x8001, endpoint: 0 }, unhex("04 00 0200000000 8d1500 970b")),
  build.apsData({ profile: 0, cluster: 0x0034, endpoint: 0 }, unhex("05 0200000000 8d1500 00")),
];
const bare: readonly Uint8Array[] = [
  build.beacon(pan, centre),
  build.macCommand(pan, device, unhex("01 8e")),
  build.macCommand(pan, device, unhex("02 970b 00")),
  build.macCommand(pan, device, unhex("03 02")),
  build.macCommand(pan, device, unhex("04")),
  build.macCommand(pan, device, unhex("06")),
  build.macCommand(pan, device, unhex("08 621a 0000 0f 970b")),
  unhex("02 00 42"),
  // Touchlink scan, Green Power, MAC security, RF4CE and 6LoWPAN.
  unhex("01c8adfffffffff4ec2a9d20feff570b000b000b00105ec011da00b3aec5e20292"),
  unhex("0108 01 ffff ffff 8c30 01020304 05000000 22 aabbccdd"),
  unhex("6988 d1 621a 0000 970b 05 0500000000 61626364 d43e022b"),
  unhex("6188 21 621a 0000 970b 2e 01000000 c0 5f11"),
  unhex("6188 22 621a 0000 970b 7b 3b 3a 1a"),
];

/** Frames in which nothing, something or much is not as it should be: before protection, after it, or both. */
export class Mutants {
  readonly #random: FixedRandom;
  #counter = 1;
  /** With which the next frames are protected: it never changes within a network. */
  level = 5;

  constructor(random: FixedRandom) {
    this.#random = random;
  }

  frame(): Uint8Array {
    const random = this.#random;
    if (random.below(3) === 0) return this.#changed(random.pick(bare, nothing));
    const kind = random.below(3);
    const command = kind === 0;
    const payload = this.#changed(
      command
        ? unhex(random.pick(nwkCommands, ""))
        : kind === 1
          ? this.#apsCommand()
          : random.pick(applications, nothing),
    );
    const { level } = this;
    const protection = { key: mutantKeys.network, source: device, counter: this.#counter++, level };
    const nwk = build.nwkFrame(
      {
        destination: random.pick([0, 0x970b, 0xfffc, 0xffff], 0),
        source: random.pick([0, 0x970b], 0),
        sequence: random.below(256),
        command,
        ...(random.below(5) === 0 ? {} : { protection }),
      },
      payload,
    );
    const macSequence = random.below(256);
    const whole = build.macData({ pan, destination: 0, source: 0x970b, macSequence }, nwk);
    return random.below(3) === 0 ? this.#changed(whole) : whole;
  }

  #apsCommand(): Uint8Array {
    const random = this.#random;
    const payload = this.#changed(random.pick(apsCommands, nothing));
    const identifier = random.below(5);
    if (identifier > 3) return build.apsCommand(payload);
    return build.apsCommand(payload, {
      key: mutantKeys.link,
      source: device,
      counter: this.#counter++,
      identifier,
    });
  }

  /** A third stays as it is. */
  #changed(bytes: Uint8Array): Uint8Array {
    const random = this.#random;
    const changed = bytes.slice();
    if (random.below(3) === 0 || bytes.length === 0) return changed;
    for (let change = random.below(4); change > 0; change--) {
      changed[random.below(bytes.length)] = random.below(256);
    }
    if (random.below(8) === 0) return changed.subarray(0, random.below(bytes.length + 1));
    return random.below(16) === 0 ? joined(changed, changed.subarray(random.below(bytes.length))) : changed;
  }
}

function u32(value: number): Uint8Array {
  return Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
}

function pcap(linkType: number, records: readonly Uint8Array[]): Uint8Array {
  const parts = records.map((record, index) => {
    const length = u32(record.length);
    return joined(u32(1_700_000_000 + index), u32(7), length, length, record);
  });
  return joined(unhex("d4c3b2a1 0200 0400 00000000 00000000 00000400"), u32(linkType), ...parts);
}

function pcapngBlock(type: number, body: Uint8Array): Uint8Array {
  const padded = joined(body, new Uint8Array((4 - (body.length % 4)) % 4));
  const length = u32(12 + padded.length);
  return joined(u32(type), length, padded, length);
}

function pcapng(frames: readonly Uint8Array[]): Uint8Array {
  const section = pcapngBlock(0x0a0d0d0a, unhex("4d3c2b1a 0100 0000 ffffffffffffffff"));
  const secrets = joined(u32(0x5a4e574b), u32(18), mutantKeys.network, unhex("621a 0000"));
  const packets = frames.map((frame, index) => {
    const length = u32(frame.length);
    return pcapngBlock(6, joined(u32(0), u32(0), u32(index), length, length, frame));
  });
  return joined(section, pcapngBlock(1, unhex("e600 0000 00000000")), pcapngBlock(10, secrets), ...packets);
}

function daintree(frames: readonly Uint8Array[]): Uint8Array {
  const lines = frames.map(
    (frame, index) =>
      `${index + 1} ${index}.000001 ${frame.length + 2} ${build.hex(frame)}ffff 255 1 -3 25 1 0 1 32767`,
  );
  return Buffer.from(`#Format=4\n${lines.join("\n")}\n`);
}

function zep(frame: Uint8Array): Uint8Array {
  return joined(unhex("4558 02 01 0f 0001 01 ff"), new Uint8Array(22), Uint8Array.of(frame.length), frame);
}

function udp(payload: Uint8Array): Uint8Array {
  return joined(unhex("455a 455a"), Uint8Array.of(0, payload.length + 8), unhex("0000"), payload);
}

function ipv4(payload: Uint8Array): Uint8Array {
  const length = Uint8Array.of(0, payload.length + 20);
  return joined(unhex("4500"), length, unhex("00000000 4011 0000 7f000001 7f000001"), payload);
}

const writers: readonly ((frames: readonly Uint8Array[]) => Uint8Array)[] = [
  (frames) => build.pcapFile(frames),
  (frames) => pcap(230, frames),
  (frames) =>
    pcap(
      215,
      frames.map((frame) => joined(unhex("00000000 a7"), Uint8Array.of(frame.length), frame)),
    ),
  (frames) =>
    pcap(
      283,
      frames.map((frame) =>
        joined(unhex("0000 1c00 0000 0100 00000000 0100 0400 000048c2 0300 0300 0f000000"), frame),
      ),
    ),
  (frames) =>
    pcap(
      1,
      frames.map((frame) => joined(new Uint8Array(12), unhex("0800"), ipv4(udp(zep(frame))))),
    ),
  (frames) =>
    pcap(
      113,
      frames.map((frame) => joined(new Uint8Array(14), unhex("00f6"), frame)),
    ),
  (frames) =>
    pcap(
      101,
      frames.map((frame) => ipv4(udp(zep(frame)))),
    ),
  pcapng,
  daintree,
];

/** A capture of these frames in any format; half of them are damaged outside their frames as well. */
export function mutantFile(frames: readonly Uint8Array[], random: FixedRandom): Uint8Array {
  const file = random.pick(writers, build.pcapFile)(frames);
  if (random.below(2) === 0) return file;
  for (let change = random.below(3); change > 0; change--) {
    file[random.below(file.length)] = random.below(256);
  }
  return random.below(6) === 0 ? file.subarray(0, random.below(file.length)) : file;
}
