import { PosternError } from "@postern/core/errors";

/** A device bundle that cannot be used: no JSON, of another version, or with a wrong field. */
export class BundleError extends PosternError {
  readonly code = "BUNDLE_INVALID";
}
