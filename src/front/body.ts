import type { HttpRequest } from "../server/http-handler.js";

/** A request's body, which is read when it is asked for and kept. */
export interface Body {
  /**
   * Hands over the whole of it, or undefined if it is longer; then it may be asked again with a greater limit. Never calls
   * back for a request that ends before its body does.
   */
  read(maxBytes: number, done: (whole: Buffer | undefined) => void): void;
  /**
   * Resolves to the same.
   * @param hold hears of the bytes that are kept; what it throws ends the reading.
   * @throws RequestGone when the request ends before its body does.
   */
  whole(maxBytes: number, hold: (bytes: number) => void): Promise<Buffer | undefined>;
  /** What has been read of it until now. */
  received(): Buffer;
}

/** The client went away, so that there is nobody to answer. */
export class RequestGone extends Error {
  override readonly name = "RequestGone";
}

/** Whether nobody waits for an answer any more. Over HTTP/2 a body that was cut off also ends, as if it were whole. */
export function isGone(request: HttpRequest): boolean {
  if ("stream" in request) return request.stream.aborted || request.stream.destroyed;
  return request.destroyed && !request.complete;
}

export const createBody = (request: HttpRequest): Body => new RequestBody(request);

/** A class, because each call makes one. */
class RequestBody implements Body {
  private readonly chunks: Buffer[] = [];
  private size = 0;
  private isWhole = false;
  private held = 0;

  constructor(private readonly request: HttpRequest) {}

  received() {
    const { chunks } = this;
    const [only] = chunks;
    if (chunks.length === 1 && only !== undefined) return only;
    const joined = Buffer.concat(chunks);
    // Not both.
    chunks.splice(0, chunks.length, joined);
    return joined;
  }

  read(maxBytes: number, done: (whole: Buffer | undefined) => void) {
    this.readAlong(maxBytes, done);
  }

  whole(maxBytes: number, hold: (bytes: number) => void) {
    return new Promise<Buffer | undefined>((resolve, reject) => {
      const { request } = this;
      const gone = () => reject(new RequestGone("the request ended before its body"));
      if (isGone(request)) return gone();
      hold(this.size - this.held);
      this.held = this.size;
      request.once("close", gone);
      const stop = this.readAlong(
        maxBytes,
        (whole) => {
          request.off("close", gone);
          resolve(whole);
        },
        (chunk) => {
          try {
            hold(chunk.length);
            this.held += chunk.length;
          } catch (error) {
            stop();
            request.off("close", gone);
            reject(error);
          }
        },
      );
    });
  }

  /** @param heard is called after each chunk. @returns What ends the reading before its time. */
  private readAlong(
    maxBytes: number,
    done: (whole: Buffer | undefined) => void,
    heard?: (chunk: Buffer) => void,
  ): () => void {
    const { request } = this;
    const stop = () => {
      request.off("data", take);
      request.off("end", end);
      if (!this.isWhole) request.pause();
    };
    const take = (chunk: Buffer) => {
      this.chunks.push(chunk);
      this.size += chunk.length;
      if (this.size <= maxBytes) return heard?.(chunk);
      stop();
      done(undefined);
    };
    const end = () => {
      if (isGone(request)) return;
      this.isWhole = true;
      stop();
      done(this.received());
    };
    if (this.size > maxBytes) done(undefined);
    else if (this.isWhole) done(this.received());
    else {
      request.on("data", take);
      request.on("end", end);
      // Once paused it would stay so.
      request.resume();
    }
    return stop;
  }
}
