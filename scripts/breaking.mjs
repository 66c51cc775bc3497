// Compares proto/ with what main last had: on a branch its fork from main, on main itself the commit before.
// Wire and JSON compatibility, as buf.yaml says. The contract was broken once, before anything was released: what is older than
// that is not compared with.
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const before = join(root, "node_modules/.cache/tilegate/before");

function git(...args) {
  return execFileSync("git", args, {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  }).trim();
}

function tryGit(...args) {
  try {
    return git(...args);
  } catch {
    return undefined;
  }
}

/** Times got their names of AIP-142 in the commit that brought this line: an ancestor without it is from before. */
const RENAMED = {
  file: "proto/tilegate/v1/account.proto",
  line: "google.protobuf.Timestamp create_time = 3;",
};

const isRenamed = (commit) => tryGit("show", `${commit}:${RENAMED.file}`)?.includes(RENAMED.line) ?? false;

/** `commit`, or if it is older than the renaming the commit that renamed; undefined while that is not committed. */
function sinceRenaming(commit) {
  if (isRenamed(commit)) return commit;
  const changes = git("log", "--reverse", "--format=%H", `${commit}..HEAD`, "--", RENAMED.file);
  return changes.split("\n").find(isRenamed);
}

function baseline() {
  const head = tryGit("rev-parse", "HEAD");
  for (const main of ["origin/main", "main"]) {
    const fork = tryGit("merge-base", "HEAD", main);
    if (fork !== undefined && fork !== head) return fork;
  }
  return tryGit("rev-parse", "--verify", "--quiet", "HEAD~1");
}

const latest = baseline();
if (latest === undefined || tryGit("rev-parse", "--verify", "--quiet", `${latest}:proto`) === undefined) {
  console.log("nothing to compare with: no earlier commit has proto/");
  process.exit(0);
}
const commit = sinceRenaming(latest);
if (commit === undefined) {
  console.log("nothing to compare with: every earlier commit is from before the times were renamed");
  process.exit(0);
}

rmSync(before, { recursive: true, force: true });
mkdirSync(join(before, "node_modules/.cache/tilegate"), { recursive: true });
const archive = execFileSync("git", ["archive", commit, "proto", "buf.yaml"], { cwd: root });
execFileSync("tar", ["-x", "-C", before], { input: archive });
symlinkSync(
  join(root, "node_modules/.cache/tilegate/proto"),
  join(before, "node_modules/.cache/tilegate/proto"),
);

const image = join(root, "node_modules/.cache/tilegate/before.binpb");
const buf = join(root, "node_modules/.bin/buf");
// Of a workspace with two modules, compared with one image, buf says nothing at all: name the module.
execFileSync(buf, ["build", "proto", "-o", image], { cwd: before, stdio: "inherit" });
try {
  execFileSync(buf, ["breaking", "proto", "--against", image], { cwd: root, stdio: "inherit" });
} catch {
  process.exit(1);
}
console.log(`compatible with ${commit.slice(0, 12)}`);
