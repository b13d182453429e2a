/** A refusal of the API, or the lack of an answer, as one kind of error. */

import type { FieldProblem, ProblemDocument } from "./types";

type Document = Omit<ProblemDocument, "type" | "rocketmqCode">;

export class Problem extends Error {
  readonly title: string;
  /** 0 when there was no answer at all. */
  readonly status: number;
  readonly code: string;
  readonly retryable: boolean;
  readonly outcome: string;
  readonly requestId: string | undefined;
  readonly errors: readonly FieldProblem[];

  constructor(document: Document) {
    super(document.detail);
    this.name = "Problem";
    this.title = document.title;
    this.status = document.status;
    this.code = document.code;
    this.retryable = document.retryable;
    this.outcome = document.outcome;
    this.requestId = document.requestId ?? undefined;
    this.errors = document.errors ?? [];
  }

  /** What was said about one field of the request, whichever way it was named. */
  field(name: string): string | undefined {
    const at = (error: FieldProblem) => error.pointer ?? error.header ?? error.query ?? error.path ?? "";
    const wanted = name.toLowerCase();
    return this.errors.find((error) => at(error).toLowerCase().split("/").includes(wanted))?.detail;
  }
}

function isDocument(value: unknown): value is Document {
  const { title, status, code, detail } = (value ?? {}) as Record<string, unknown>;
  return [title, code, detail].every((text) => typeof text === "string") && typeof status === "number";
}

/** Whatever stood in an error's body: a problem document, or a page of some proxy on the way. */
export function problemOf(body: unknown, status: number): Problem {
  if (isDocument(body)) return new Problem(body);
  return new Problem({
    title: `HTTP ${status}`,
    status,
    code: "not_a_problem_document",
    detail: "The answer did not come from Gantry's API.",
    retryable: status >= 500,
    outcome: "unknown",
  });
}

export function unreachable(cause: unknown): Problem {
  return new Problem({
    title: "No answer",
    status: 0,
    code: "unreachable",
    detail: cause instanceof Error ? cause.message : String(cause),
    retryable: true,
    outcome: "unknown",
  });
}

export function asProblem(error: unknown): Problem {
  return error instanceof Problem ? error : unreachable(error);
}

/** An older or foreign broker does not answer everything: then a figure is unknown, not an error. */
export function isUnsupported(error: unknown): boolean {
  const { status, code } = asProblem(error);
  return status === 405 || status === 501 || code === "not_found";
}
