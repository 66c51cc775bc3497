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

/** Where bytes stand in the message, which is read in place: a call brings some forty pieces. */
interface Span {
  readonly from: number;
  readonly to: number;
}

/** Undefined for what is unusual: not ASCII, a field or a header twice, a malformed message. */
function read(message: Buffer): CheckedRequest | undefined {
  const parts = (
    of: Span | undefined,
    numbers: readonly number[],
    others?: (number: number, at: Span) => void,
  ) => partsOf(message, of, numbers, others);
  try {
    const [attributes] = parts({ from: 0, to: message.length }, [field.attributes]);
    const [source, request] = parts(attributes, [field.source, field.request]);
    const [http] = parts(request, [field.http]);
    const headers: string[] = [];
    const [method, path] = parts(http, [field.method, field.path], (number, entry) => {
      if (number !== field.headers) return;
      const [key, value] = parts(entry, [KEY, VALUE]);
      const name = textAt(message, key);
      for (let index = 0; index < headers.length; index += 2)
        if (headers[index] === name) throw new TypeError("twice");
      headers.push(name, textAt(message, value));
    });
    const [peer] = parts(source, [field.peerAddress]);
    const [socket] = parts(peer, [field.socketAddress]);
    const [address] = parts(socket, [field.address]);
    return {
      method: textAt(message, method),
      path: textAt(message, path),
      headers,
      address: textAt(message, address),
    };
  } catch {
    return undefined;
  }
}

/**
 * The fields of a message within a message that have these numbers; undefined where they aren't there.
 * @param others Hears of the other fields of bytes.
 * @throws TypeError for one of them that is there twice or has another type, for a field that is not of bytes or a number, and for
 *   what is no message.
 */
function partsOf(
  bytes: Buffer,
  within: Span | undefined,
  numbers: readonly number[],
  others?: (number: number, at: Span) => void,
): (Span | undefined)[] {
  const found: (Span | undefined)[] = numbers.map(() => undefined);
  if (within === undefined) return found;
  let at = within.from;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift <= LAST_SHIFT; shift += 7) {
      const byte = at < within.to ? (bytes[at++] ?? 0) : 0x80;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new TypeError("no small number");
  };
  while (at < within.to) {
    const tag = varint();
    const index = numbers.indexOf(tag >> 3);
    if ((tag & 7) === VARINT && index === -1) {
      while (at < within.to && (bytes[at] ?? 0) >= 0x80) at += 1;
      at += 1;
      continue;
    }
    if ((tag & 7) !== LENGTH_DELIMITED || tag >> 3 === 0) throw new TypeError("not bytes");
    const length = varint();
    const span = { from: at, to: at + length };
    at = span.to;
    if (at > within.to) throw new TypeError("cut off");
    if (index === -1) others?.(tag >> 3, span);
    else if (found[index] !== undefined) throw new TypeError("twice");
    else found[index] = span;
  }
  if (at > within.to) throw new TypeError("cut off");
  return found;
}

const VARINT = 0;
const LENGTH_DELIMITED = 2;

/** Three bytes: no length in a usual message takes more. */
const LAST_SHIFT = 14;

const PLAIN = /^[\t -~]*$/;

function textAt(bytes: Buffer, span: Span | undefined): string {
  if (span === undefined) return "";
  const text = bytes.toString("latin1", span.from, span.to);
  if (!PLAIN.test(text)) throw new TypeError("not plain");
  return text;
}
