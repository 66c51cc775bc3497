/**
 * The URL, or undefined for what is none. Not by URL.canParse: once it has been called some thousand times, that of Node.js 20
 * and 22 reads Latin-1 as if it were UTF-8, and refuses every `ü`.
 */
export function parseUrl(text: string): URL | undefined {
  try {
    return new URL(text);
  } catch {
    return undefined;
  }
}
