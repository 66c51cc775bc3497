/**
 * A gRPC message: one byte of flags, four of length, the message.
 * @param {Uint8Array} message
 * @param {{ flags?: number, length?: number }} [said] What the prefix says, where that isn't the truth.
 */
export function grpcFrame(message, { flags = 0, length = message.length } = {}) {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt8(flags, 0);
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, message]);
}
