/** Every reason for which a caller may be refused, by name, and what kind of failure it is. docs/errors.md tells of each. */
export const ERROR_REASONS = {
  INVALID_FIELD: "invalid_argument",
  INVALID_FILE: "invalid_argument",
  MALFORMED_REQUEST: "invalid_argument",
  CREDENTIAL_REQUIRED: "unauthenticated",
  CREDENTIAL_MALFORMED: "unauthenticated",
  SCHEME_UNSUPPORTED: "unauthenticated",
  SERVICE_TOKEN_INVALID: "unauthenticated",
  SERVICE_TOKEN_REVOKED: "unauthenticated",
  SERVICE_TOKEN_EXPIRED: "unauthenticated",
  JWT_NOT_ACCEPTED: "unauthenticated",
  TOKEN_INVALID: "unauthenticated",
  TOKEN_EXPIRED: "unauthenticated",
  TOKEN_NOT_YET_VALID: "unauthenticated",
  ACCOUNT_UNKNOWN: "unauthenticated",
  API_KEY_REFUSED: "unauthenticated",
  DATASET_UNAUTHENTICATED: "unauthenticated",
  NOT_A_MANAGER: "permission_denied",
  NOT_AN_ADMINISTRATOR: "permission_denied",
  NOT_THE_OPERATOR: "permission_denied",
  NOT_A_TRUSTED_PROXY: "permission_denied",
  DATASET_PERMISSION_DENIED: "permission_denied",
  NOT_FOUND: "not_found",
  DATASET_NOT_FOUND: "not_found",
  ALREADY_EXISTS: "already_exists",
  STALE_ETAG: "aborted",
  CONCURRENT_CHANGE: "aborted",
  API_KEY_RATE_LIMITED: "resource_exhausted",
  REVOKED_TOO_OFTEN: "resource_exhausted",
  BODY_TOO_LARGE: "resource_exhausted",
  OVERLOADED: "overloaded",
  UNAVAILABLE: "unavailable",
  DATASET_UNAVAILABLE: "unavailable",
  NOT_HEALTHY: "unavailable",
  WORKERS_FAILED: "unavailable",
} as const;

/** Stable name of a failure, for programs. */
export type ErrorReason = keyof typeof ERROR_REASONS;

/** The kinds of failure that callers can tell apart. Each door maps them to its own statuses, in one place. */
export type ErrorKind = (typeof ERROR_REASONS)[ErrorReason];

/** What is wrong with one field of a request. */
export interface FieldViolation {
  /** Its path from the request on, in snake case: `dataset.table_name`, `datasets[3].raster.bounds`; `body` is all of it. */
  readonly field: string;
  /** What is wrong, for people: it goes on where "the field" left off. */
  readonly description: string;
  /** The schema's rule that is broken, UPPER_SNAKE. Absent: a rule that the schema can't tell. */
  readonly rule?: string | undefined;
}

export interface DomainErrorOptions {
  /** The field at fault, of a failure that isn't the field's own: an etag, a taken name. */
  readonly field?: string;
  /** Every field at fault, of what is invalid. */
  readonly violations?: readonly FieldViolation[];
  /** When the call may be tried again. */
  readonly retryAfterSeconds?: number;
  /** What really happened. For the log, never for the caller. */
  readonly cause?: unknown;
}

/**
 * A failure with a public message. Anything else that is thrown reaches callers as "internal error" and
 * the log whole.
 */
export class DomainError extends Error {
  override readonly name = "DomainError";
  /** The field at fault, or the first of them. */
  readonly field: string | undefined;
  readonly violations: readonly FieldViolation[];
  readonly retryAfterSeconds: number | undefined;

  constructor(
    readonly kind: ErrorKind,
    readonly reason: ErrorReason,
    /** For people, and public: never a credential, never a cause. */
    message: string,
    options: DomainErrorOptions = {},
  ) {
    super(message, { cause: options.cause });
    this.violations = options.violations ?? [];
    this.field = options.field ?? this.violations[0]?.field;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

/** What is wrong with several fields, of which the message names the first ones. */
export function invalidFields(violations: readonly FieldViolation[]): DomainError {
  return new DomainError("invalid_argument", "INVALID_FIELD", inWords(violations), { violations });
}

export function invalid(field: string, description: string): DomainError {
  return invalidFields([{ field, description }]);
}

/** The same failure where `path` holds what it is about: of `expire_time` in `api_key`, `api_key.expire_time`. */
export function below(path: string, error: DomainError): DomainError {
  const { kind, reason, retryAfterSeconds, cause } = error;
  const field = error.field === undefined ? undefined : `${path}.${error.field}`;
  const violations = error.violations.map((violation) => ({
    ...violation,
    field: `${path}.${violation.field}`,
  }));
  const message = violations.length > 0 ? inWords(violations) : error.message;
  return new DomainError(kind, reason, message, { field, violations, retryAfterSeconds, cause });
}

const NAMED_IN_MESSAGE = 10;

/** About as much as a terminal's screen shows, and half of what gRPC's trailers have room for. */
const MESSAGE_LENGTH = 1_000;

function inWords(violations: readonly FieldViolation[]): string {
  let text = "";
  for (const [index, { field, description }] of violations.entries()) {
    const next = `${text}${text === "" ? "" : "; "}${field}: ${description}`;
    const isTooMuch = index === NAMED_IN_MESSAGE || (index > 0 && next.length > MESSAGE_LENGTH);
    if (isTooMuch) return `${text}; and ${violations.length - index} more`;
    text = next;
  }
  return text;
}

export function notFound(resource: string): DomainError {
  return new DomainError("not_found", "NOT_FOUND", `${resource} not found`);
}

/** For calls beyond what the process can hold at once. */
export function overloaded(): DomainError {
  return new DomainError("overloaded", "OVERLOADED", "the service is busy, try again", {
    retryAfterSeconds: 1,
  });
}

/** For our own outages: never "you may not" when the truth is "I can't tell". */
export function unavailable(what: string, cause: unknown, retryAfterSeconds = 1): DomainError {
  return new DomainError("unavailable", "UNAVAILABLE", `${what} can't be reached now, try again`, {
    cause,
    retryAfterSeconds,
  });
}
