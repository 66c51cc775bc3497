import { once } from "node:events";
import { connect, constants } from "node:http2";
import { type AddressInfo, createServer } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { createExchanges } from "../../src/server/exchanges.js";
import { createHttp2 } from "../../src/server/http2.js";
import { defaultLimits as limits } from "../../src/server/limits.js";

test("a connection that begins in a flood is told to come back, and takes none of what it would send", async () => {
  const exchanges = createExchanges({ limits, classes: new Map() });
  let isFlooded = true;
  let handled = 0;
  const http2 = createHttp2({
    limits,
    exchanges: { ...exchanges, isFlooded: () => isFlooded },
    handler(_request, response) {
      handled += 1;
      response.end();
    },
  });
  const listener = createServer({ allowHalfOpen: true }, (socket) => http2.accept(socket));
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  onTestFinished(() => {
    listener.close();
  });
  const url = `http://127.0.0.1:${(listener.address() as AddressInfo).port}`;

  const refused = connect(url);
  refused.on("error", () => {});
  const told = once(refused, "goaway");
  refused.request({ ":path": "/" }).on("error", () => {});
  const [code] = await told;
  expect(code).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  expect(handled).toBe(0);

  isFlooded = false;
  const served = connect(url);
  onTestFinished(() => served.destroy());
  const [headers] = await once(served.request({ ":path": "/" }), "response");
  expect(headers[":status"]).toBe(200);
});
