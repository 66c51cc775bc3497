import { isAscii } from "node:buffer";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import type { GrantedTiles } from "../../domain/tile-requests/tile-requests.js";
import {
  AddressSchema,
  AttributeContextSchema,
  Authorization,
  CheckRequestSchema,
  CheckResponseSchema,
  AttributeContext_HttpRequestSchema as HttpRequestSchema,
  AttributeContext_PeerSchema as PeerSchema,
  AttributeContext_RequestSchema as RequestSchema,
  SocketAddressSchema,
} from "../../gen/proto/envoy/service/auth/v3/external_auth_pb.js";
import { toCheckResponse } from "../authorization-service.js";
import type { CheckedRequest, CheckedTiles, TileAuthorization } from "../tile-authorization.js";
import { createHotRpc, encode, type HotRpc } from "./codec.js";

/** What Envoy asks for every tile. Its messages carry all of a request's headers, of which few are looked at. */
export function createCheck(authorization: TileAuthorization): HotRpc {
  // The grant of a token is the same object for all tiles of a second.
  const encoded = new WeakMap<GrantedTiles, string>();

  function write(checked: CheckedTiles): string {
    const { verdict } = checked;
    const known = verdict.granted ? encoded.get(verdict) : undefined;
    if (known !== undefined) return known;
    const text = encode("binary", CheckResponseSchema, toCheckResponse(checked));
    if (verdict.granted) encoded.set(verdict, text);
    return text;
  }

  return createHotRpc(Authorization.method.check, {
    read: (form, message) => (form === "binary" ? read(message) : undefined),
    call: (_envoy, request, beforeWaiting) => authorization.check(request, beforeWaiting),
    write: (_form, checked) => write(checked),
  });
}

const field = {
  attributes: CheckRequestSchema.field.attributes.number,
  source: AttributeContextSchema.field.source.number,
  request: AttributeContextSchema.field.request.number,
  http: RequestSchema.field.http.number,
  method: HttpRequestSchema.field.method.number,
  path: HttpRequestSchema.field.path.number,
  headers: HttpRequestSchema.field.headers.number,
  peerAddress: PeerSchema.field.address.number,
  socketAddress: AddressSchema.field.socketAddress.number,
  address: SocketAddressSchema.field.address.number,
};

/** Of a map's entry. */
const KEY = 1;
const VALUE = 2;

/** Undefined for what is unusual: not ASCII, a field or a header twice, a malformed message. */
function read(message: Buffer): CheckedRequest | undefined {
  try {
    const [attributes] = parts(message, [field.attributes]);
    const [source, request] = parts(attributes, [field.source, field.request]);
    const [http] = parts(request, [field.http]);
    const headers: string[] = [];
    const [method, path] = parts(http, [field.method, field.path], (number, bytes) => {
      if (number !== field.headers) return;
      const [key, value] = parts(bytes, [KEY, VALUE]);
      headers.push(toText(key), toText(value));
    });
    const [peer] = parts(source, [field.peerAddress]);
    const [socket] = parts(peer, [field.socketAddress]);
    const [address] = parts(socket, [field.address]);
    const names = headers.filter((_, index) => index % 2 === 0);
    if (new Set(names).size < names.length) return undefined;
    return { method: toText(method), path: toText(path), headers, address: toText(address) };
  } catch {
    return undefined;
  }
}

/**
 * The fields of a message that have these numbers: bytes, or undefined where they aren't there.
 * @param others Hears of the other fields of bytes.
 * @throws for one of them that is there twice or has another type, and for what is no message.
 */
function parts(
  message: Uint8Array | undefined,
  numbers: readonly number[],
  others?: (number: number, bytes: Uint8Array) => void,
): (Uint8Array | undefined)[] {
  const found: (Uint8Array | undefined)[] = numbers.map(() => undefined);
  if (message === undefined) return found;
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const index = numbers.indexOf(number);
    if (type !== WireType.LengthDelimited) {
      if (index !== -1) throw new TypeError("not bytes");
      reader.skip(type, number);
      continue;
    }
    const bytes = reader.bytes();
    if (index === -1) others?.(number, bytes);
    else if (found[index] !== undefined) throw new TypeError("twice");
    else found[index] = bytes;
  }
  return found;
}

function toText(bytes: Uint8Array | undefined): string {
  if (bytes === undefined) return "";
  if (!isAscii(bytes) || bytes.includes(0)) throw new TypeError("not plain");
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}
