// Puts what proto/ imports of others into dist/proto, which the package carries: no package of theirs has it as .proto files, and
// protoc in any language needs it. Built, never committed.
import { execFileSync } from "node:child_process";
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const packed = join(root, "dist/proto");

rmSync(packed, { recursive: true, force: true });
cpSync(join(root, "node_modules/.cache/tilegate/proto/buf"), join(packed, "buf"), { recursive: true });
execFileSync(join(root, "node_modules/.bin/buf"), ["format", "--write", packed], {
  cwd: root,
  stdio: "inherit",
});
