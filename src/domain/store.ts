/** A store refused a write because a unique field's value is taken. */
export class DuplicateError extends Error {
  override readonly name = "DuplicateError";
  constructor(readonly field: string) {
    super(`duplicate ${field}`);
  }
}

/** A store refused a write because a row changed since it was read. */
export class ConcurrentChangeError extends Error {
  override readonly name = "ConcurrentChangeError";
}
