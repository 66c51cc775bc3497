// Bodies that cost a server more than their sender, made from what the descriptors say: each method's lists filled with
// items of two bytes, fields that it doesn't know, one message again and again, nesting without end.
import { readdirSync } from "node:fs";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { grpcFrame } from "../harness/grpc-frame.mjs";

/**
 * @typedef {object} Shape
 * @property {string} name
 * @property {"proto" | "json"} format
 * @property {(bytes: number) => Buffer} fill A body of at most so many bytes, which no method may take for valid.
 *
 * @typedef {import("./client.mjs").Call & { name: string, protocol: "http" | "grpc" }} Request
 */

const GENERATED = new URL("../dist/gen/proto/", import.meta.url);
const DIRECTORIES = ["tilegate/v1/", "grpc/health/v1/"];

/** No message of the contract nests deeper, and one that did would come back to itself. */
const MAX_DEPTH = 3;

const [VARINT, LENGTH_DELIMITED, START_GROUP] = [0, 2, 3];
/** A field's tag with a wire type that there isn't: what it ends can't be decoded, so that nothing is done with it. */
const UNDECODABLE = Buffer.of(0x0f);
/** Below this a tag is one byte. */
const SHORT_TAGS = 16;

/** @returns {Promise<import("@bufbuild/protobuf").DescMethod[]>} */
export async function unaryMethods() {
  const methods = [];
  for (const directory of DIRECTORIES) {
    const files = readdirSync(new URL(directory, GENERATED)).filter((name) => name.endsWith("_pb.js"));
    for (const file of files) {
      const exported = Object.values(await import(new URL(directory + file, GENERATED).href));
      const services = exported.filter((each) => each.kind === "service");
      methods.push(...services.flatMap((/** @type {any} */ service) => service.methods));
    }
  }
  return methods.filter(({ methodKind }) => methodKind === "unary");
}

/** @param {import("@bufbuild/protobuf").DescMessage} message @returns {Shape[]} */
export function shapesOf(message) {
  const lists = listsOf(message);
  const numbers = new Set(message.fields.map(({ number }) => number));
  const unknown = Array.from({ length: SHORT_TAGS - 1 }, (_, index) => index + 1).find(
    (each) => !numbers.has(each),
  );
  const first = message.fields.find(({ fieldKind }) => fieldKind === "message");
  const text = message.fields.find(({ scalar, fieldKind }) => fieldKind === "scalar" && scalar === 9);
  const name = message.fields[0]?.jsonName ?? "a";
  /** @type {(Shape | false | undefined)[]} */
  const shapes = [
    ...lists.flatMap((path) => listShapes(path)),
    unknown !== undefined && {
      name: "unknown fields",
      format: "proto",
      fill: (bytes) => end(repeat(Buffer.of((unknown << 3) | VARINT, 0), bytes - 1)),
    },
    unknown !== undefined && {
      name: "groups in groups",
      format: "proto",
      fill: (bytes) => Buffer.alloc(bytes, (unknown << 3) | START_GROUP),
    },
    first && {
      name: `${first.name} again and again`,
      format: "proto",
      fill: (bytes) =>
        end(repeat(Buffer.concat([tag(first.number, LENGTH_DELIMITED), Buffer.of(0)]), bytes - 1)),
    },
    text && {
      name: `a long ${text.name}`,
      format: "proto",
      fill: (bytes) => end(field(text.number, Buffer.alloc(bytes - 7, "x"))),
    },
    text && {
      name: `a long ${text.name}`,
      format: "json",
      fill: (bytes) => around(`{"${text.jsonName}":"`, Buffer.alloc(bytes - 50, "x"), '","x":0}'),
    },
    {
      name: "unknown fields",
      format: "json",
      fill: (bytes) =>
        jsonItems(
          "{",
          Math.floor((bytes - 2) / 13),
          (index) => `"x${String(index).padStart(7, "0")}":0`,
          "}",
        ),
    },
    {
      name: "one member again and again",
      format: "json",
      fill: (bytes) =>
        jsonItems("{", Math.floor((bytes - 12) / (name.length + 6)), () => `"${name}":[]`, "}"),
    },
    {
      name: "arrays in arrays",
      format: "json",
      fill: (bytes) => around(`{"${name}":`, Buffer.alloc(bytes - 50, "["), ""),
    },
    {
      name: "objects in objects",
      format: "json",
      fill: (bytes) => repeat(Buffer.from(`{"${name}":`), bytes),
    },
    { name: "blanks", format: "json", fill: (bytes) => around("", Buffer.alloc(bytes - 50, " "), "[]") },
  ];
  return shapes.filter((shape) => typeof shape === "object");
}

/** @param {readonly import("@bufbuild/protobuf").DescField[]} path @returns {Shape[]} */
function listShapes(path) {
  const list = path.at(-1);
  const outer = path.slice(0, -1);
  if (list === undefined) return [];
  const name = `empty ${path.map((each) => each.name).join(".")}`;
  const isMask = list.parent.typeName === "google.protobuf.FieldMask";
  const before = outer.map(({ jsonName, fieldKind }) => `{"${jsonName}":${fieldKind === "list" ? "[" : ""}`);
  const after = outer.map(({ fieldKind }) => (fieldKind === "list" ? "]}" : "}")).reverse();
  if (!isMask) {
    before.push(`{"${list.jsonName}":`);
    after.unshift("}");
  }
  const frameBytes = before.join("").length + after.join("").length + 2;
  const item = isMask ? "a" : jsonItemOf(list);
  const [open, close] = isMask ? ['"', '"'] : list.fieldKind === "map" ? ["{", "}"] : ["[", "]"];
  return [
    {
      name,
      format: "proto",
      fill(bytes) {
        let body = protoItems(list, bytes - 6 * outer.length);
        for (const { number } of outer.toReversed()) body = field(number, body);
        return body;
      },
    },
    {
      name,
      format: "json",
      fill: (bytes) =>
        jsonItems(
          before.join("") + open,
          Math.floor((bytes - frameBytes) / (item.length + 1)),
          () => item,
          close + after.join(""),
        ),
    },
  ];
}

/** @param {import("@bufbuild/protobuf").DescField} list @param {number} bytes */
function protoItems(list, bytes) {
  const isPacked = list.fieldKind === "list" && list.listKind !== "message" && list.packed;
  // Zeros, whatever the type: as many as it takes.
  if (isPacked) return field(list.number, Buffer.alloc((bytes - 8) & ~7));
  return repeat(Buffer.concat([tag(list.number, LENGTH_DELIMITED), Buffer.of(0)]), bytes);
}

/** @param {import("@bufbuild/protobuf").DescField} list */
function jsonItemOf(list) {
  if (list.fieldKind === "map") return '"":0';
  if (list.fieldKind === "list" && list.listKind === "message") return "{}";
  return list.fieldKind === "list" && list.scalar === 9 ? '""' : "0";
}

/**
 * The ways to every list within a message.
 * @param {import("@bufbuild/protobuf").DescMessage} message @param {number} [depth]
 * @returns {import("@bufbuild/protobuf").DescField[][]}
 */
function listsOf(message, depth = 0) {
  if (depth === MAX_DEPTH) return [];
  return message.fields.flatMap((each) => {
    const inside = each.message ? listsOf(each.message, depth + 1).map((rest) => [each, ...rest]) : [];
    return each.fieldKind === "list" || each.fieldKind === "map" ? [[each], ...inside] : inside;
  });
}

/** @param {number} number @param {number} wireType */
const tag = (number, wireType) => varint((number << 3) | wireType);

/** @param {number} number @param {Buffer} content */
const field = (number, content) =>
  Buffer.concat([tag(number, LENGTH_DELIMITED), varint(content.length), content]);

/** @param {number} value */
function varint(value) {
  const bytes = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest & 127) | 128);
  }
}

/** @param {Buffer} item @param {number} bytes */
const repeat = (item, bytes) => Buffer.alloc(bytes - (bytes % item.length), item);

/** @param {Buffer} body */
const end = (body) => Buffer.concat([body, UNDECODABLE]);

/** @param {string} before @param {Buffer} content @param {string} after */
const around = (before, content, after) => Buffer.concat([Buffer.from(before), content, Buffer.from(after)]);

/** @param {string} before @param {number} count @param {(index: number) => string} item @param {string} after */
const jsonItems = (before, count, item, after) =>
  Buffer.from(before + Array.from({ length: count }, (_, index) => item(index)).join(",") + after);

/** @typedef {"identity" | "gzip" | "br"} Encoding */
/** @type {readonly Encoding[]} */
const ENCODINGS = ["identity", "gzip", "br"];

/** @type {Record<Encoding, (body: Buffer) => Buffer>} */
const compress = {
  identity: (body) => body,
  gzip: (body) => gzipSync(body, { level: 9 }),
  br: (body) => brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } }),
};

/** What GET may carry: a server's limit on a request's head. */
const MAX_TARGET_BYTES = 15_000;

/** REST's routes that take a body, with the list in it. */
const REST = [
  ["/api/tiles/tokens/", "dataset_ids"],
  ["/tiles/tokens", "dataset_ids"],
  ["/v1/api_keys", "origins"],
  ["/v1/api_keys/00000000-0000-4000-8000-000000000000/change_settings", "origins"],
];

/**
 * Each body of each method in each size, plain and compressed, in each protocol; one after the other, since all of them take
 * gigabytes.
 * @param {{ sizes: readonly number[], only?: readonly string[], encodings?: readonly Encoding[] }} options `only`: of these
 *   methods, as RPCs alone.
 * @returns {AsyncGenerator<Request>}
 */
export async function* abusiveRequests({ sizes, only, encodings = ENCODINGS }) {
  for (const method of await unaryMethods()) {
    if (only !== undefined && !only.includes(method.name)) continue;
    const path = `/${method.parent.typeName}/${method.name}`;
    for (const shape of shapesOf(method.input)) {
      for (const bytes of sizes) {
        const body = shape.fill(bytes);
        for (const encoding of encodings) {
          const sent = compress[encoding](body);
          const name = `${method.name}, ${shape.name}, ${shape.format}, ${encoding}, ${bytes >> 10} KiB`;
          yield { name, protocol: "http", path, body: sent, headers: headersOf(shape.format, encoding) };
          if (shape.format === "proto") yield grpcRequest(name, path, sent, encoding);
          if (method.idempotency === 1) yield* getRequest(name, path, sent, encoding, shape.format);
        }
      }
    }
  }
  if (only === undefined) yield* restRequests(sizes);
}

/** @param {readonly number[]} sizes @returns {Generator<Request>} */
function* restRequests(sizes) {
  for (const [path = "", list = ""] of REST) {
    for (const bytes of sizes) {
      const before = `{"${list}":`;
      const bodies = {
        "empty items": jsonItems(`${before}[`, Math.floor((bytes - 50) / 3), () => '""', "]}"),
        "arrays in arrays": around(before, Buffer.alloc(bytes - 50, "["), ""),
        "a long item": around(`${before}["`, Buffer.alloc(bytes - 50, "x"), '"]}'),
        blanks: around("", Buffer.alloc(bytes - 50, " "), "[]"),
      };
      for (const [shape, body] of Object.entries(bodies)) {
        for (const encoding of ENCODINGS) {
          yield {
            name: `${path}, ${shape}, ${encoding}, ${bytes >> 10} KiB`,
            protocol: "http",
            path,
            body: compress[encoding](body),
            headers: headersOf("json", encoding),
          };
        }
      }
    }
  }
}

/** @param {Shape["format"]} format @param {string} encoding @returns {Record<string, string>} */
const headersOf = (format, encoding) => ({
  "content-type": `application/${format}`,
  ...(encoding !== "identity" && { "content-encoding": encoding }),
});

/** @param {string} name @param {string} path @param {Buffer} sent @param {string} encoding @returns {Request} */
function grpcRequest(name, path, sent, encoding) {
  const body = grpcFrame(sent);
  if (encoding !== "identity") body[0] = 1;
  return { name: `${name}, gRPC`, protocol: "grpc", path, body, headers: { "grpc-encoding": encoding } };
}

/**
 * @param {string} name @param {string} path @param {Buffer} sent @param {string} encoding @param {Shape["format"]} format
 * @returns {Generator<Request>}
 */
function* getRequest(name, path, sent, encoding, format) {
  const query = new URLSearchParams({
    connect: "v1",
    encoding: format,
    base64: "1",
    ...(encoding !== "identity" && { compression: encoding }),
    message: sent.toString("base64url"),
  });
  const target = `${path}?${query}`;
  if (target.length <= MAX_TARGET_BYTES)
    yield { name: `${name}, GET`, protocol: "http", method: "GET", path: target };
}
