import { once } from "node:events";
import { connect, type OutgoingHttpHeaders } from "node:http2";
import type { TestApp } from "../harness/app.js";

/** What came back, whatever the protocol: enough to tell a typed error from an accident. */
export interface RawAnswer {
  readonly status: number;
  /** gRPC's, from headers or trailers. */
  readonly grpcStatus?: number | undefined;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
  /** The body and the headers' and trailers' texts: errors of gRPC are there. */
  readonly text: string;
}

/** Sends these bytes as the body of a gRPC call over HTTP/2. */
export async function postGrpc(
  app: TestApp,
  path: string,
  body: Uint8Array,
  headers: OutgoingHttpHeaders = {},
): Promise<RawAnswer> {
  const session = connect(app.url);
  try {
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc+proto",
      te: "trailers",
      ...headers,
    });
    const received: Record<string, string | undefined> = {};
    const keep = (fields: object) => {
      for (const [name, value] of Object.entries(fields)) received[name] = String(value);
    };
    stream.on("response", keep);
    stream.on("trailers", keep);
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.end(body);
    // Not its close, which waits for the server to have read everything.
    await once(stream, "end");
    const status = received["grpc-status"];
    const text = Buffer.concat(chunks).toString("latin1");
    return {
      status: Number(received[":status"]),
      grpcStatus: status === undefined ? undefined : Number(status),
      headers: received,
      body: text,
      text: `${Object.values(received).join("\n")}\n${text}`,
    };
  } finally {
    session.destroy();
  }
}

/** Any HTTP/1.1 request that fetch can make. */
export async function send(app: TestApp, path: string, init?: RequestInit): Promise<RawAnswer> {
  const response = await app.fetch(path, init);
  const headers = Object.fromEntries(response.headers);
  const body = await response.text();
  const grpcStatus = headers["grpc-status"] ?? /grpc-status: ?(\d+)/.exec(body)?.[1];
  return {
    status: response.status,
    grpcStatus: grpcStatus === undefined ? undefined : Number(grpcStatus),
    headers,
    body,
    text: `${Object.values(headers).join("\n")}\n${body}`,
  };
}
