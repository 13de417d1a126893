import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("./flood-program.ts", import.meta.url));

export type FloodOptions = {
  readonly to: string;
  readonly port: number;
  /** The source that each packet claims; an invented one each time unless given. */
  readonly from?: string;
  /** Packets a second. */
  readonly rate?: number;
  readonly count?: number;
  readonly seconds?: number;
  /** Random bytes of a knock packet's length unless given. */
  readonly payload?: Uint8Array;
};

/** What the runtime is to be started with on a host, to send datagrams whose source is a lie. */
export function floodArguments({ payload, ...options }: FloodOptions): string[] {
  const given = Object.entries({
    ...options,
    payload: payload === undefined ? undefined : Buffer.from(payload).toString("hex"),
  });
  return [
    program,
    ...given.flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, String(value)])),
  ];
}
