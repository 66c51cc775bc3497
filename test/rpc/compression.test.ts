import { brotliCompressSync, brotliDecompressSync, constants } from "node:zlib";
import { expect, test } from "vitest";
import { acceptCompression } from "../../src/rpc/compression.js";

test("brotli takes a quality for answers, not one for files (CPU amplification: 160 ms for 100 kB)", async () => {
  const brotli = acceptCompression.find(({ name }) => name === "br");
  const ids = Array.from({ length: 1_000 }, (_, index) => ({ id: index * 7_919, title: `roads ${index}` }));
  const answer = Buffer.from(JSON.stringify(ids));
  const compressed = await brotli?.compress(answer);
  const params = { [constants.BROTLI_PARAM_QUALITY]: 4 };
  expect(compressed).toEqual(new Uint8Array(brotliCompressSync(answer, { params })));
  expect(brotliDecompressSync(compressed ?? "").equals(answer)).toBe(true);
});
