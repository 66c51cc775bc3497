import { once } from "node:events";
import { connect } from "node:http2";
import { expect, test } from "vitest";
import { serve } from "./serve.js";

// In a file, and so a process, of its own: it counts what the whole process holds open.
test("a closed server holds nothing open", async () => {
  const tcpHandles = () => process.getActiveResourcesInfo().filter((name) => name.startsWith("TCP")).length;
  const before = tcpHandles();
  const { server } = await serve();
  const response = await fetch(server.url);
  await response.text();
  const session = connect(server.url);
  const stream = session.request({ ":path": "/" });
  await once(stream.resume(), "end");
  expect(tcpHandles()).toBeGreaterThan(before + 2);

  const sessionClosed = once(session, "close");
  await server.close({ graceMs: 300_000 });
  await sessionClosed;
  // The clients' own ends take another turn of the event loop.
  await expect.poll(tcpHandles).toBe(before);
});
