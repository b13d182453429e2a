/** A page that broke: the shell around it stays, and says so. */

import type { ErrorComponentProps } from "@tanstack/react-router";
import { Failure } from "./states";

export function PageFailure({ error, reset }: ErrorComponentProps) {
  return <Failure error={error} onRetry={reset} />;
}
