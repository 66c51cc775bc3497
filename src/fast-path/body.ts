import type { HttpRequest } from "../server/http-handler.js";

/**
 * Reads the body, or its beginning if that is longer than the limit. A request that ends before its body does is never
 * heard of.
 */
export function readBody(
  request: HttpRequest,
  maxBytes: number,
  done: (body: Buffer, isWhole: boolean) => void,
): void {
  const chunks: Buffer[] = [];
  let size = 0;
  function take(chunk: Buffer) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > maxBytes) finish(false);
  }
  const end = () => finish(true);
  function finish(isWhole: boolean) {
    request.off("data", take);
    request.off("end", end);
    if (!isWhole) request.pause();
    const [only] = chunks;
    done(chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks), isWhole);
  }
  request.on("data", take);
  request.once("end", end);
}

/** Puts what was read in front of what is left to read, for whoever reads the request as an async iterable. */
export function restoreBody(request: HttpRequest, body: Buffer): void {
  const rest = request.iterator.bind(request);
  async function* whole() {
    if (body.length > 0) yield body;
    if (!request.readableEnded) yield* rest({ destroyOnReturn: false });
  }
  Object.defineProperties(request, { iterator: { value: whole }, [Symbol.asyncIterator]: { value: whole } });
}
