import { Code } from "@connectrpc/connect";
import type { HttpRequest, HttpResponse } from "../server/http-handler.js";
import { discardBody } from "../server/unread-body.js";

const RPC_PATH = /^\/[\w.]+\.\w+\/\w+$/;

/**
 * Answers an RPC that doesn't exist in the words of the protocol it came by, so that clients report
 * "unimplemented" rather than a body that they can't read.
 * @returns Whether the request was an RPC.
 */
export function refuseUnknownRpc(request: HttpRequest, response: HttpResponse): boolean {
  const [path = ""] = (request.url ?? "").split("?", 1);
  if (!RPC_PATH.test(path)) return false;
  discardBody(request, response);
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
  return true;
}
