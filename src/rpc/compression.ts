import { Code, ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";

/** Connect's own, which take a message that is cut off for a defect of the server. It is the client's mistake. */
export const acceptCompression: Compression[] = [compressionGzip, compressionBrotli].map((compression) => ({
  ...compression,
  async decompress(bytes, readMaxBytes) {
    try {
      return await compression.decompress(bytes, readMaxBytes);
    } catch (error) {
      const { code, rawMessage } = ConnectError.from(error);
      throw new ConnectError(rawMessage, code === Code.Internal ? Code.InvalidArgument : code);
    }
  },
}));
