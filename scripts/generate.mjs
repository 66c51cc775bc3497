// Makes what src/ is checked and built against, all of it never committed: src/gen, with Protobuf code from proto/ and the Prisma
// client from prisma/, and packages/*/dist.
// Works offline: third-party .proto sources are assembled from installed packages, and Prisma's
// schema engine, which `prisma generate` would download and not use, is replaced by a placeholder.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { file_buf_validate_validate } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { printProtoFile } from "./print-proto.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const generated = join(root, "src/gen/proto");
const thirdParty = join(root, "node_modules/.cache/tilegate/proto");

function run(command, args, env = {}) {
  execFileSync(join(root, "node_modules/.bin", command), args, {
    cwd: root,
    env: { ...process.env, PATH: `${join(root, "node_modules/.bin")}:${process.env.PATH}`, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
}

/** What clients get as tilegate/proto: our API, and the details that its errors carry. */
function printIndex() {
  const ours = readdirSync(join(generated, "tilegate/v1")).map((name) => `tilegate/v1/${name}`);
  const modules = [...ours.sort(), "google/rpc/error_details_pb.ts"];
  return modules.map((path) => `export * from "./${path.replace(/\.ts$/, ".js")}";\n`).join("");
}

for (const name of readdirSync(join(root, "packages"))) {
  const compiler = join(root, "node_modules/.bin/tsc");
  execFileSync(compiler, ["-p", join("packages", name)], { cwd: root, stdio: "inherit" });
}

rmSync(thirdParty, { recursive: true, force: true });
const copies = {
  "@grpc/reflection/build/proto/grpc/reflection": "grpc/reflection",
  "grpc-health-check/proto/health/v1/health.proto": "grpc/health/v1/health.proto",
};
for (const [from, to] of Object.entries(copies)) {
  cpSync(join(root, "node_modules", from), join(thirdParty, to), { recursive: true });
}
const validate = join(thirdParty, "buf/validate/validate.proto");
mkdirSync(dirname(validate), { recursive: true });
writeFileSync(validate, printProtoFile(file_buf_validate_validate, "@bufbuild/protovalidate, Apache-2.0"));

run("buf", ["generate"]);
writeFileSync(join(generated, "index.ts"), printIndex());
run("prisma", ["generate", "--no-hints"], {
  PRISMA_SCHEMA_ENGINE_BINARY: process.env.PRISMA_SCHEMA_ENGINE_BINARY ?? process.execPath,
});
