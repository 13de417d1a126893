import { isDeviceName } from "@postern/pki/device-uri";

/** Names of people and things that a directory outside knows: an address is one, nothing that means something in a topic is. */
const outsideName = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$/;

const namesMax = 64;

export function isOutsideName(name: string): boolean {
  return outsideName.test(name);
}

/** Roles or groups from outside: a list, or text with spaces between; `undefined` for anything else. Nothing is an empty list. */
export function namesOf(value: unknown): readonly string[] | undefined {
  if (value === undefined) return [];
  const names: unknown[] = typeof value === "string" ? value.split(" ") : Array.isArray(value) ? value : [""];
  if (names.length > namesMax) return undefined;
  return names.every((name) => typeof name === "string" && isDeviceName(name))
    ? names.filter((name) => typeof name === "string")
    : undefined;
}
