import { bundleSchema, type Bundle } from "@postern/core/bundle";

import { EnrolmentAnswerError } from "../errors.ts";
import { askEst, granted, type EstPlace, type EstTls } from "./est-client.ts";

/** The parts of a bundle that are the server's to say. */
const answerSchema = bundleSchema.pick({
  device: true,
  servers: true,
  est: true,
  knock: true,
  brokerKey: true,
});

/** Where a device finds its servers, and their key, as Postern tells a device with a good certificate. */
export type DevicePlaces = Pick<Bundle, "device" | "servers" | "est" | "knock" | "brokerKey">;

/**
 * Asks, with a new certificate, where the servers are: which shows as well that the certificate works.
 * @returns `undefined` when the server is not Postern and knows no such question.
 * @throws {EnrolmentRefusedError} when the certificate does not work.
 */
export async function fetchPlaces(place: EstPlace, tls: EstTls): Promise<DevicePlaces | undefined> {
  const answer = await askEst(place, tls, { method: "GET", path: "/postern/device" });
  if (answer.status === 404) return undefined;
  const text = granted(answer, place, "the new certificate");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const result = answerSchema.safeParse(value);
  if (result.success) return result.data;
  throw new EnrolmentAnswerError(`${place.url} does not say where its servers are`);
}
