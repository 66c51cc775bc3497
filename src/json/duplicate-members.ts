const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const [OPENING_BRACKET, CLOSING_BRACKET] = [0x5b, 0x5d];
const [OPENING_BRACE, CLOSING_BRACE] = [0x7b, 0x7d];

/** Up to so many names of an object are compared one by one, which costs less than a set of them. */
const FEW_NAMES = 8;

/** Where the names of an array begin. */
const NO_NAMES = -1;

/**
 * Finds a name that an object in `text` has twice, at any depth. Of two such members JSON.parse takes the last where
 * other readers take the first, so that what one of them checked is not what another obeys. Names are compared as they
 * are read: `"exp"` and `"\u0065xp"` are the same.
 *
 * `text` must be what JSON.parse accepts. It is anybody's text: the time that it takes is in proportion to its length,
 * whatever its nesting and its names.
 *
 * @returns the name, which may be empty; undefined if every name is there once
 */
export function findDuplicateMember(text: string): string | undefined {
  return findDuplicate(text)?.name;
}

/** The same name with the names and indices that lead there from the top. */
export function duplicatePath(text: string): (string | number)[] | undefined {
  const found = findDuplicate(text);
  return found && [...pathTo(text, found.at), found.name];
}

/** @returns also where the name stands for the second time */
function findDuplicate(text: string): { name: string; at: number } | undefined {
  // The names of the objects that are open, the innermost last, and where those of each begin. No object of its own
  // for each, which would make deep nesting ten times as dear.
  const names: string[] = [];
  const outerBeginnings: number[] = [];
  const outerSets: (Set<string> | undefined)[] = [];
  let beginning = NO_NAMES;
  let set: Set<string> | undefined;
  let isNameNext = false;

  function isNew(name: string): boolean {
    if (set?.has(name) ?? names.includes(name, beginning)) return false;
    if (set) set.add(name);
    else if (names.push(name) - beginning === FEW_NAMES) set = new Set(names.slice(beginning));
    return true;
  }

  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case QUOTE: {
        const end = closingQuote(text, at);
        if (isNameNext) {
          isNameNext = false;
          // With the quote, since V8 hashes texts of digits predictably: those that collide would make a list of the set.
          const name = text.slice(at, end);
          if (!isNew(name.includes("\\") ? `"${JSON.parse(`${name}"`)}` : name))
            return { name: JSON.parse(`${name}"`), at };
        }
        at = end;
        break;
      }
      case COMMA:
        isNameNext = beginning !== NO_NAMES;
        break;
      case OPENING_BRACE:
      case OPENING_BRACKET:
        outerBeginnings.push(beginning);
        outerSets.push(set);
        isNameNext = text.charCodeAt(at) === OPENING_BRACE;
        beginning = isNameNext ? names.length : NO_NAMES;
        set = undefined;
        break;
      case CLOSING_BRACE:
      case CLOSING_BRACKET:
        if (beginning !== NO_NAMES) names.length = beginning;
        beginning = outerBeginnings.pop() ?? NO_NAMES;
        set = outerSets.pop();
        break;
    }
  }
  return undefined;
}

/** What leads to the object that is open at `offset`. Asked for only what is refused. */
function pathTo(text: string, offset: number): (string | number)[] {
  const open: { isObject: boolean; isNameNext: boolean; part: string | number }[] = [];
  for (let at = 0; at < offset; at++) {
    const inner = open.at(-1);
    switch (text.charCodeAt(at)) {
      case QUOTE: {
        const end = closingQuote(text, at);
        if (inner?.isNameNext) {
          inner.part = JSON.parse(text.slice(at, end + 1));
          inner.isNameNext = false;
        }
        at = end;
        break;
      }
      case COMMA:
        if (inner?.isObject) inner.isNameNext = true;
        else if (inner) inner.part = Number(inner.part) + 1;
        break;
      case OPENING_BRACE:
        open.push({ isObject: true, isNameNext: true, part: "" });
        break;
      case OPENING_BRACKET:
        open.push({ isObject: false, isNameNext: false, part: 0 });
        break;
      case CLOSING_BRACE:
      case CLOSING_BRACKET:
        open.pop();
        break;
    }
  }
  return open.slice(0, -1).map(({ part }) => part);
}

function closingQuote(text: string, openingQuote: number): number {
  let at = openingQuote;
  let backslashes: number;
  do {
    at = text.indexOf('"', at + 1);
    if (at < 0) return text.length;
    backslashes = 0;
    while (text.charCodeAt(at - 1 - backslashes) === BACKSLASH) backslashes++;
  } while (backslashes % 2 === 1);
  return at;
}
