import { unavailable } from "../../domain/errors.js";
import { ConcurrentChangeError, DuplicateError } from "../../domain/store.js";

/**
 * Calls the database, and throws its failures in the domain's terms: DuplicateError, ConcurrentChangeError,
 * DomainError UNAVAILABLE. All others pass as they are.
 */
export async function translateErrors<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw translate(error);
  }
}

// Kinds of Prisma's driver adapters that say that the database can't be used now. A rotated password or a database
// that is gone are no fault of the caller's either.
const UNAVAILABLE_KINDS = new Set<unknown>([
  "DatabaseNotReachable",
  "ConnectionClosed",
  "SocketTimeout",
  "TlsConnectionError",
  "TooManyConnections",
  "AuthenticationFailed",
  "DatabaseAccessDenied",
  "DatabaseDoesNotExist",
]);

// SQLSTATE: connection exceptions, insufficient resources (a full disk among them), a disk that fails, shutdown and
// recovery, statement timeout, lock timeout, idle-in-transaction timeout, a standby that is read-only. P2028: Prisma could not start a transaction in time,
// or it took too long.
const UNAVAILABLE_CODES = /^(08...|53...|58030|57P..|57014|55P03|25P03|25006|P2028)$/;

// node-postgres gives these no code.
const UNAVAILABLE_MESSAGES =
  /^(Connection terminated|timeout expired|timeout exceeded when trying to connect|Query read timeout|Client has encountered a connection error)/;

function translate(error: unknown): unknown {
  const driver =
    property(property(property(error, "meta"), "driverAdapterError"), "cause") ?? property(error, "cause");
  const kind = property(driver, "kind");
  if (kind === "UniqueConstraintViolation") return new DuplicateError(duplicateField(driver));
  if (kind === "TransactionWriteConflict") {
    return new ConcurrentChangeError("the database gave up one of two conflicting transactions", {
      cause: error,
    });
  }
  const codes = [property(error, "code"), property(driver, "originalCode")];
  const isUnavailable =
    UNAVAILABLE_KINDS.has(kind) ||
    codes.some((code) => UNAVAILABLE_CODES.test(String(code))) ||
    isSocketError(error) ||
    UNAVAILABLE_MESSAGES.test(String(property(error, "message")));
  return isUnavailable ? unavailable("the database", error) : error;
}

/** By Prisma's naming of constraints: `accounts_pkey`, `datasets_scope_key`. */
function duplicateField(driver: unknown): string {
  const constraint = /unique constraint "(.+)"/.exec(String(property(driver, "originalMessage")))?.[1] ?? "";
  if (constraint.endsWith("_pkey")) return "id";
  return constraint.replace(/^(accounts|service_tokens|datasets|api_keys)_/, "").replace(/_key$/, "");
}

const isSocketError = (error: unknown): boolean =>
  ["connect", "read", "write", "getaddrinfo"].includes(String(property(error, "syscall")));

function property(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}
