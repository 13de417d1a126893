import type { FastifyInstance } from "fastify";

import type { Enrolment } from "../server/enrolment.ts";
import { cancelRequest, newClaimRequest, newTokenRequest, revokeClaimRequest } from "./enrolment-protocol.ts";

/** The part of the admin API that makes, lists and ends enrolment tokens and claims. */
export function enrolmentRoutes(app: FastifyInstance, enrolment: Enrolment): void {
  app.post("/enrolment/tokens", (request) => enrolment.createToken(newTokenRequest.parse(request.body)));
  app.get("/enrolment/tokens", () => enrolment.listTokens());
  app.post("/enrolment/tokens/cancel", (request) => ({
    cancelled: enrolment.cancelTokens(cancelRequest.parse(request.body).which),
  }));
  app.post("/enrolment/claims", (request) => enrolment.createClaim(newClaimRequest.parse(request.body)));
  app.get("/enrolment/claims", () => enrolment.listClaims());
  app.post("/enrolment/claims/revoke", (request) => {
    enrolment.revokeClaim(revokeClaimRequest.parse(request.body).name);
    return {};
  });
}
