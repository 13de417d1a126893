import { resolve } from "node:path";

import { errorText } from "@postern/core/errors";
import type { Reporter } from "@postern/device/connection";
import { BackgroundRenewal } from "@postern/device/est/background-renewal";

/** Renews the certificate of a bundle while a program uses it, and says so. `undefined` when there is nothing that could be renewed. */
export function renewBundleInBackground(
  bundle: string,
  cwd: string,
  reporter: Reporter,
): BackgroundRenewal | undefined {
  return BackgroundRenewal.start({
    path: resolve(cwd, bundle),
    name: bundle,
    onRenewed: ({ notAfterMs }) =>
      reporter.notice(
        `the certificate in ${bundle} was renewed and is good until ${new Date(notAfterMs).toISOString()}`,
      ),
    onFailed: (error) =>
      reporter.notice(`the certificate in ${bundle} could not be renewed yet: ${errorText(error)}`),
  });
}
