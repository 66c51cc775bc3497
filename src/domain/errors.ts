/** The kinds of failure that callers can tell apart. Each door maps them to its own statuses, in one place. */
export type ErrorKind =
  | "invalid_argument"
  | "unauthenticated"
  | "permission_denied"
  | "not_found"
  | "already_exists"
  | "failed_precondition"
  | "aborted"
  | "resource_exhausted"
  | "overloaded"
  | "unavailable";

export interface DomainErrorOptions {
  /** The field at fault, as a path in the request: `dataset.table_name`, `datasets[3].bounds`. */
  readonly field?: string;
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
  readonly field: string | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(
    readonly kind: ErrorKind,
    /** Stable name for programs, UPPER_SNAKE. */
    readonly reason: string,
    /** For people, and public: never a credential, never a cause. */
    message: string,
    options: DomainErrorOptions = {},
  ) {
    super(message, { cause: options.cause });
    this.field = options.field;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

export function invalid(field: string, message: string): DomainError {
  return new DomainError("invalid_argument", "INVALID_FIELD", `${field}: ${message}`, { field });
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
