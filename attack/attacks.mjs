import { bodies, hundredBodies } from "./attacks/bodies.mjs";
import { confusion } from "./attacks/confusion.mjs";
import { connectionFlood, endlessHeaders, fin } from "./attacks/connections.mjs";
import { anonymousCold, fatDatasets } from "./attacks/datasets.mjs";
import { differential } from "./attacks/differential.mjs";
import { inflation, slowReaders, uploads } from "./attacks/memory.mjs";
import { reflection } from "./attacks/reflection.mjs";
import { resets } from "./attacks/resets.mjs";
import { zeroWindow } from "./attacks/windows.mjs";

/** In the order in which they are run. @type {readonly import("./stage.mjs").Attack[]} */
export const ATTACKS = [
  bodies,
  hundredBodies,
  inflation,
  ...uploads,
  fin,
  ...zeroWindow,
  reflection,
  resets,
  fatDatasets,
  differential,
  confusion,
  connectionFlood,
  endlessHeaders,
  slowReaders,
  anonymousCold,
];
