import { afterAll, beforeAll } from "vitest";

interface Server extends AsyncDisposable {
  readonly url: string;
}

/**
 * A proxy before a tile server, for all tests of a `describe`.
 * @returns Both, once its tests run.
 */
export function useSite<Tiles extends Server, Proxy extends Server>(
  startTiles: () => Promise<Tiles>,
  startProxy: (tilesUrl: string) => Promise<Proxy>,
): { readonly tiles: Tiles; readonly site: Proxy } {
  let tiles: Tiles | undefined;
  let site: Proxy | undefined;
  beforeAll(async () => {
    tiles = await startTiles();
    site = await startProxy(tiles.url);
  });
  afterAll(async () => {
    await site?.[Symbol.asyncDispose]();
    await tiles?.[Symbol.asyncDispose]();
  });
  return {
    get tiles() {
      return ready(tiles);
    },
    get site() {
      return ready(site);
    },
  };
}

function ready<T>(started: T | undefined): T {
  if (started === undefined) throw new Error("a site is there for tests only");
  return started;
}
