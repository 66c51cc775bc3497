// Small PMTiles archives (version 3), so that real tile servers have real tiles to serve.

const HEADER_BYTES = 127;
const NO_COMPRESSION = 1;
const MVT = 1;
const MAX_LATITUDE = 85.0511;
const E7 = 1e7;

/** @typedef {{ readonly z: number, readonly x: number, readonly y: number }} TileAddress */

/**
 * All tiles of zoom 0 to `maxzoom`.
 * @param {number} maxzoom @returns {TileAddress[]}
 */
export function tileAddresses(maxzoom) {
  const addresses = [];
  for (let z = 0; z <= maxzoom; z++)
    for (let x = 0; x < 2 ** z; x++) for (let y = 0; y < 2 ** z; y++) addresses.push({ z, x, y });
  return addresses;
}

/**
 * An archive of vector tiles that have one point each, and an attribute that says which tile of which layer it is.
 * @param {string} layer @param {number} maxzoom Up to 4: all of the directory is in its root.
 */
export function vectorArchive(layer, maxzoom) {
  const tiles = tileAddresses(maxzoom)
    .map((address) => ({ id: tileId(address), bytes: vectorTile(layer, address) }))
    .sort((a, b) => a.id - b.id);
  const data = Buffer.concat(tiles.map(({ bytes }) => bytes));
  const directory = Buffer.concat([
    varint(tiles.length),
    ...tiles.map(({ id }, i) => varint(id - (tiles[i - 1]?.id ?? 0))),
    ...tiles.map(() => varint(1)),
    ...tiles.map(({ bytes }) => varint(bytes.length)),
    // The first one's offset plus one, then "right behind the one before".
    ...tiles.map((_, i) => varint(i === 0 ? 1 : 0)),
  ]);
  const metadata = Buffer.from(
    JSON.stringify({ name: layer, vector_layers: [{ id: layer, fields: { tile: "String" } }] }),
  );

  const header = Buffer.alloc(HEADER_BYTES);
  header.write("PMTiles");
  header.writeUInt8(3, 7);
  const parts = [directory, metadata, Buffer.alloc(0), data];
  let at = HEADER_BYTES;
  for (const [i, { length }] of parts.entries()) {
    header.writeBigUInt64LE(BigInt(at), 8 + 16 * i);
    header.writeBigUInt64LE(BigInt(length), 16 + 16 * i);
    at += length;
  }
  // Addressed, entries, contents.
  for (const offset of [72, 80, 88]) header.writeBigUInt64LE(BigInt(tiles.length), offset);
  header.writeUInt8(1, 96);
  header.writeUInt8(NO_COMPRESSION, 97);
  header.writeUInt8(NO_COMPRESSION, 98);
  header.writeUInt8(MVT, 99);
  header.writeUInt8(0, 100);
  header.writeUInt8(maxzoom, 101);
  for (const [i, degrees] of [-180, -MAX_LATITUDE, 180, MAX_LATITUDE].entries())
    header.writeInt32LE(Math.round(degrees * E7), 102 + 4 * i);
  return Buffer.concat([header, ...parts]);
}

/**
 * Its place on the Hilbert curve of its zoom, after all tiles of lower zooms.
 * @param {TileAddress} address
 */
function tileId({ z, x, y }) {
  let id = (4 ** z - 1) / 3;
  let [px, py] = [x, y];
  for (let side = 2 ** (z - 1); side >= 1; side /= 2) {
    const [right, low] = [(px & side) > 0 ? 1 : 0, (py & side) > 0 ? 1 : 0];
    id += side * side * ((3 * right) ^ low);
    if (low === 0) {
      if (right === 1) [px, py] = [side - 1 - (px & (side - 1)), side - 1 - (py & (side - 1))];
      [px, py] = [py, px];
    }
  }
  return id;
}

/** A point in the middle. @param {string} layer @param {TileAddress} address */
function vectorTile(layer, { z, x, y }) {
  const feature = Buffer.concat([
    field(2, Buffer.from([0, 0])),
    Buffer.from([0x18, 1]),
    // MoveTo once, then 2048 each way, zigzag.
    field(4, Buffer.concat([varint(9), varint(4096), varint(4096)])),
  ]);
  const content = Buffer.concat([
    field(1, Buffer.from(layer)),
    field(2, feature),
    field(3, Buffer.from("tile")),
    field(4, field(1, Buffer.from(`${layer}/${z}/${x}/${y}`))),
    Buffer.from([0x28]),
    varint(4096),
    Buffer.from([0x78, 2]),
  ]);
  return field(3, content);
}

/** A Protobuf field of bytes. @param {number} number @param {Buffer} bytes */
const field = (number, bytes) => Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes]);

/** @param {number} value */
function varint(value) {
  const bytes = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}
