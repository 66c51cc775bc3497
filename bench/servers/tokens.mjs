import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

const TTL_SECONDS = 900;
const MIN_VALIDITY_SECONDS = 60;

/** What the benchmark tells its servers: the path is their first argument. */
export const fixture = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8"));

/** When a token that is made now expires. */
export function expiryNow() {
  const now = Math.floor(Date.now() / 1000);
  const next = (Math.floor(now / TTL_SECONDS) + 1) * TTL_SECONDS;
  const exp = next - now < MIN_VALIDITY_SECONDS ? next + TTL_SECONDS : next;
  return { exp, expiresIn: exp - now };
}

/** @param {string} scope @param {number} exp */
export const signatureOf = (scope, exp) =>
  createHmac("sha256", fixture.signingKey).update(`${scope}:${exp}`).digest("hex");

/**
 * Tile tokens as somebody would make them by hand: one signature for each scope and window, kept.
 * @returns {(id: string) => { kind: "vector" | "raster", sig: string, exp: number, scope: string, expiresIn: number }}
 */
export function createSigner() {
  /** @type {Map<string, import("../fixture.mjs").BenchDataset>} */
  const datasets = new Map(fixture.datasets.map((/** @type {any} */ dataset) => [dataset.id, dataset]));
  const signatures = new Map();
  let signedExp = 0;
  return (id) => {
    const dataset = datasets.get(id);
    if (dataset === undefined) throw new Error(`unknown dataset ${id}`);
    const { exp, expiresIn } = expiryNow();
    if (exp !== signedExp) {
      signatures.clear();
      signedExp = exp;
    }
    const { kind, scope } = dataset;
    let sig = signatures.get(scope);
    if (sig === undefined) {
      sig = signatureOf(scope, exp);
      signatures.set(scope, sig);
    }
    return { kind, sig, exp, scope, expiresIn };
  };
}

/** What a raster's answer carries beside its token. @param {string} sig @param {number} exp @param {string} scope */
export const rasterOf = (sig, exp, scope) => ({
  tileUrl: `/raster-tiles/${scope}/tiles/{z}/{x}/{y}.png?sig=${sig}&exp=${exp}&scope=${scope}&v=1`,
  bounds: [-180, -85, 180, 85],
  minzoom: 0,
  maxzoom: 10,
  tileSize: 256,
  format: "png",
});
