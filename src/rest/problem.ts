import { DomainError, type ErrorKind } from "../domain/errors.js";
import type { Call } from "../front/call.js";
import { endWith, writeHead } from "../server/http-handler.js";
import { JsonText } from "./route.js";

/** A failure that is HTTP's own, or of an API whose error bodies are fixed. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  constructor(
    readonly status: number,
    detail: string,
    readonly options: { headers?: Record<string, string>; body?: unknown } = {},
  ) {
    super(detail);
  }
}

/** By kind of failure. docs/errors.md lists them. */
export const STATUSES: Readonly<Record<ErrorKind, number>> = {
  invalid_argument: 422,
  unauthenticated: 401,
  permission_denied: 403,
  not_found: 404,
  already_exists: 409,
  aborted: 409,
  resource_exhausted: 429,
  overloaded: 503,
  unavailable: 503,
};

const TITLES: Record<number, string> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  413: "Content Too Large",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  500: "Internal Server Error",
  503: "Service Unavailable",
};

/** Writes an answer, and notes its status. */
export function sendJson(
  call: Call,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
  contentType = "application/json",
): void {
  // First, so that a body that can't be written leaves room for an error.
  const text = body instanceof JsonText ? body.text : JSON.stringify(body);
  const encoding = body instanceof JsonText ? "latin1" : "utf8";
  const own = [...Object.entries(headers).flat(), "content-type", contentType];
  call.note(String(status));
  writeHead(call.response, status, [
    ...call.headers,
    ...own,
    ...["content-length", String(Buffer.byteLength(text, encoding))],
  ]);
  if (encoding === "latin1") endWith(call.response, text);
  else call.response.end(text, encoding);
}

/**
 * The one place where failures become REST answers: RFC 9457, unless the error brings a body of its own.
 * @returns The status, for the log.
 */
export function sendError(call: Call, error: unknown): number {
  if (error instanceof HttpError) {
    const { headers, body } = error.options;
    if (body !== undefined) sendJson(call, error.status, body, headers);
    else sendProblem(call, error.status, error.message, {}, headers);
    return error.status;
  }
  if (error instanceof DomainError) {
    const status = STATUSES[error.kind];
    const headers: Record<string, string> = {};
    if (status === 401) headers["www-authenticate"] = "Bearer";
    if (error.retryAfterSeconds !== undefined) headers["retry-after"] = String(error.retryAfterSeconds);
    const { reason, field, violations } = error;
    const errors = violations.map((violation) => ({ field: violation.field, detail: violation.description }));
    const members = { reason, field, errors: errors.length > 0 ? errors : undefined };
    sendProblem(call, status, error.message, members, headers);
    return status;
  }
  sendProblem(call, 500, "internal error");
  return 500;
}

function sendProblem(
  call: Call,
  status: number,
  detail: string,
  members: Record<string, unknown> = {},
  headers?: Record<string, string>,
): void {
  const problem = { type: "about:blank", title: TITLES[status], status, detail, ...members };
  sendJson(call, status, problem, headers, "application/problem+json");
}
