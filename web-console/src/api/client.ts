/** The one client of the API, typed by its document: paths, parameters, bodies and answers. */

import createClient from "openapi-fetch";
import { basePath } from "../paths";
import type { paths } from "./generated";
import { Problem, problemOf, unreachable } from "./problem";

export function makeClient(fetch?: (request: Request) => Promise<Response>) {
  return createClient<paths>({ baseUrl: `${globalThis.location.origin}${basePath()}`, fetch });
}

export let client = makeClient();

/** Tests hand in a network of their own. */
export function setNetwork(fetch: (request: Request) => Promise<Response>) {
  client = makeClient(fetch);
}

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The answer's body, or a `Problem` thrown. */
export async function take<T>(answer: Promise<Answer<T>>): Promise<NonNullable<T>> {
  let taken: Answer<T>;
  try {
    taken = await answer;
  } catch (cause) {
    if (cause instanceof Problem || (cause instanceof DOMException && cause.name === "AbortError")) throw cause;
    throw unreachable(cause);
  }
  if (!taken.response.ok) throw problemOf(taken.error, taken.response.status);
  return taken.data as NonNullable<T>;
}

/** For answers without a body. */
export async function done(answer: Promise<Answer<unknown>>): Promise<void> {
  await take(answer);
}
