// What all runtimes have, and all that is used of it. Its own, since no library of TypeScript's is every runtime's.

type CryptoKey = { readonly type: string };

declare const crypto: {
  readonly subtle: {
    importKey(
      format: "raw" | "jwk",
      data: Uint8Array | object,
      algorithm: string | object,
      isExtractable: boolean,
      usages: readonly "verify"[],
    ): Promise<CryptoKey>;
    verify(algorithm: string | object, key: CryptoKey, sig: Uint8Array, text: Uint8Array): Promise<boolean>;
  };
};

declare class TextEncoder {
  encode(text: string): Uint8Array;
}

declare class URL {
  readonly href: string;
}

declare const AbortSignal: { timeout(milliseconds: number): object };

declare function fetch(
  url: string | URL,
  init: { headers: object; signal: object },
): Promise<{ json(): Promise<unknown>; readonly headers: { get(name: string): string | null } }>;
