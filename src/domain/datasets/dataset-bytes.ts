import { bytesOfTexts } from "../text-bytes.js";
import type { Dataset } from "./dataset.js";

// By filling the cache with 2,000 datasets of each kind, from Redis, with a token and its three encodings each, and
// comparing the heap: 2.5 kB for a usual vector dataset, 3.4 kB for a raster, 58 kB with 200 readers of 128 bytes, 14 kB with a
// tile URL template of 2,000 ASCII characters and 65 kB with one that JSON must escape.
const DATASET_BYTES = 3_500;
const TEMPLATE_COPIES = 6;
const ESCAPED_TEMPLATE_COPIES = 34;

/** About how much memory a dataset takes that is cached, with what is made of it: its token, its encodings. */
export function bytesOfDataset({ title, owner = "", readerRoles, readerSubjects, raster }: Dataset): number {
  const { tileUrlTemplate = "" } = raster;
  const copies = /[^\0-\x7f]/.test(tileUrlTemplate) ? ESCAPED_TEMPLATE_COPIES : TEMPLATE_COPIES;
  return (
    DATASET_BYTES +
    bytesOfTexts([title, owner, ...readerRoles, ...readerSubjects]) +
    copies * tileUrlTemplate.length
  );
}
