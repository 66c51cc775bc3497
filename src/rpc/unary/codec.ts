import {
  create,
  type DescMessage,
  type DescMethod,
  type MessageInitShape,
  toBinary,
  toJsonString,
} from "@bufbuild/protobuf";
import type { Caller } from "../../domain/identity/principal.js";
import { toAscii, toLatin1 } from "../../schema/entries.js";
import type { Form } from "../../schema/inspect.js";

/** An RPC whose usual messages are read and written past the framework. */
export interface HotRpc {
  readonly method: DescMethod;
  /**
   * The answer, at once where nothing has to be waited for. Undefined as soon as anything is unusual about the message, or wrong:
   * then the framework reads it.
   * @param beforeWaiting Is called before anything is waited for. What it throws refuses the call.
   * @throws what the use case throws, by promise too.
   */
  answer(
    form: Form,
    message: Buffer,
    caller: Caller,
    beforeWaiting: () => void,
  ): Answer | Promise<Answer> | undefined;
}

export interface Answer {
  /** One character is one byte. */
  readonly message: string;
  /** Whether every caller gets the same one, in this second and as long as nothing changes. */
  readonly isForEverybody: boolean;
}

/** What a hot RPC brings: a reader and a writer around its use case. */
export interface Codec<Request, Response> {
  /** Undefined: see HotRpc. */
  read(form: Form, message: Buffer): Request | undefined;
  call(caller: Caller, request: Request, beforeWaiting: () => void): Response | Promise<Response>;
  write(form: Form, response: Response): string;
  /** Default: no. */
  isForEverybody?(response: Response): boolean;
}

export function createHotRpc<Request, Response>(
  method: DescMethod,
  { read, call, write, isForEverybody = () => false }: Codec<Request, Response>,
): HotRpc {
  const toAnswer = (form: Form, response: Response): Answer => ({
    message: write(form, response),
    isForEverybody: isForEverybody(response),
  });
  return {
    method,
    answer(form, message, caller, beforeWaiting) {
      const request = read(form, message);
      if (request === undefined) return undefined;
      const response = call(caller, request, beforeWaiting);
      return response instanceof Promise
        ? response.then((later) => toAnswer(form, later))
        : toAnswer(form, response);
    },
  };
}

/** A message as text of which one character is one byte. */
export function encode<Schema extends DescMessage>(
  form: Form,
  schema: Schema,
  init: MessageInitShape<Schema>,
): string {
  const message = create(schema, init);
  return form === "json" ? toAscii(toJsonString(schema, message)) : toLatin1(toBinary(schema, message));
}
