import { Code } from "@connectrpc/connect";
import type { Call } from "../front/call.js";
import { setHeaders } from "../server/http-handler.js";
import { discardBody } from "../server/unread-body.js";

const RPC_PATH = /^\/[\w.]+\.\w+\/\w+$/;

/** Whether it is the path of an RPC, be there one or not. */
export const isRpcPath = (path: string): boolean => RPC_PATH.test(path);

/**
 * Answers an RPC that doesn't exist in the words of the protocol it came by, so that clients report
 * "unimplemented" rather than a body that they can't read.
 */
export function refuseUnknownRpc(call: Call): void {
  const { request, response } = call;
  discardBody(request, response);
  setHeaders(response, call.headers);
  call.note("unimplemented");
  const message = "there is no such RPC";
  const contentType = request.headers["content-type"] ?? "";
  if (contentType.startsWith("application/grpc")) {
    response.writeHead(200, {
      "content-type": contentType,
      "grpc-status": String(Code.Unimplemented),
      "grpc-message": message,
    });
    response.end();
  } else {
    response.writeHead(404, { "content-type": "application/json" });
    response.end(JSON.stringify({ code: "unimplemented", message }));
  }
}
