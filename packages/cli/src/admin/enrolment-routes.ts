import type { FastifyInstance } from "fastify";

import type { Enrolment } from "../server/enrolment.ts";
import { cancelRequest, newTokenRequest } from "./enrolment-protocol.ts";

/** The part of the admin API that makes, lists and cancels enrolment tokens. */
export function enrolmentRoutes(app: FastifyInstance, enrolment: Enrolment): void {
  app.post("/enrolment/tokens", (request) => enrolment.createToken(newTokenRequest.parse(request.body)));
  app.get("/enrolment/tokens", () => enrolment.listTokens());
  app.post("/enrolment/tokens/cancel", (request) => ({
    cancelled: enrolment.cancelTokens(cancelRequest.parse(request.body).which),
  }));
}
