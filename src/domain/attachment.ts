/**
 * What is made of many objects, each kept with its object for as long as that is there. Nothing else shows it: neither a copy of the
 * object nor its JSON.
 */
export interface Attachment<Owner extends object, Value> {
  of(owner: Owner): Value | undefined;
  attach(owner: Owner, value: Value): void;
}

/** Lets `#value` be a field of an object that it did not make. */
class Given {
  constructor(owner: object) {
    // biome-ignore lint/correctness/noConstructorReturn: the derived class's field is put on it.
    return owner;
  }
}

/**
 * In private fields. A WeakMap does the same; but to put something into a large one takes a microsecond, and what was put there for
 * objects that are gone comes to the old heap all the same.
 */
export function createAttachment<Owner extends object, Value>(): Attachment<Owner, Value> {
  return class Attached extends Given {
    #value: Value | undefined;

    static of(owner: object): Value | undefined {
      return #value in owner ? owner.#value : undefined;
    }

    static attach(owner: object, value: Value): void {
      const attached = #value in owner ? owner : new Attached(owner);
      attached.#value = value;
    }
  };
}
