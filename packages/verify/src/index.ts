export { compileTilePaths, type NamedTiles, PRESETS, type TilePaths } from "./tile-paths.js";
