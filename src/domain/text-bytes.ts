/** Header and reference of a string: by measuring strings of many lengths. */
const STRING_BYTES = 32;

/** About how much memory texts take that are held `copies` times, once as they are and else in longer texts. */
export function bytesOfTexts(texts: readonly string[], copies = 2): number {
  // One character that isn't Latin-1 makes the text that it is in twice as long, all of it.
  const unitBytes = texts.some((text) => /[^\0-\xff]/.test(text)) ? 2 : 1;
  let bytes = 0;
  for (const text of texts) bytes += STRING_BYTES + copies * unitBytes * text.length;
  return bytes;
}
