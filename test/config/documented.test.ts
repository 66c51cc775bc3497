import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import { describe, expect, test } from "vitest";
import { variables } from "../../src/config/config.js";
import { ERROR_REASONS } from "../../src/domain/errors.js";

const read: readonly string[] = Object.keys(variables);
const withFiles = new Set(read.flatMap((name) => [name, `${name}_FILE`]));

const filesOf = (path: string): string[] =>
  statSync(path).isDirectory() ? readdirSync(path).flatMap((name) => filesOf(join(path, name))) : [path];

test("docs/configuration.md has a row for every variable that is read, and for no other", () => {
  const lines = readFileSync("docs/configuration.md", "utf8").split("\n");
  const cells = lines.filter((line) => line.startsWith("| `")).map((line) => line.split("|")[1] ?? "");
  const named = cells.flatMap((cell) =>
    [...cell.matchAll(/`([A-Z][A-Z0-9_]*)`/g)].map(([, name = ""]) => name),
  );
  const bare = named.map((name) => (read.includes(name) ? name : name.replace(/_FILE$/, "")));
  expect([...new Set(bare)].sort()).toEqual([...read].sort());
});

describe("a name in the form of a variable", () => {
  const FORM = /\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b/g;
  const isTold = (text: string) => [...text.matchAll(FORM)].map(([name]) => name);

  const codes = Object.values(Code).flatMap((code) =>
    typeof code === "number" ? codeToString(code).toUpperCase() : [],
  );
  const contract = isTold(
    filesOf("proto")
      .map((path) => withoutComments(path))
      .join("\n"),
  );

  /** What the documents name besides, with whose they are. */
  const OTHERS = {
    "any variable": ["NAME_FILE"],
    "the cache of test:edge and test:runtimes": ["XDG_CACHE_HOME"],
    "Node.js": ["NODE_ENV", "NODE_EXTRA_CA_CERTS", "NODE_IMAGE", "NODE_OPTIONS"],
    "PostgreSQL's image": ["POSTGRES_DB", "POSTGRES_PASSWORD_FILE", "POSTGRES_USER"],
    "the tests": ["TEST_DATABASE_URL", "TEST_REDIS_URL"],
    "examples of shells and deploy/make-secrets.sh": ["API_KEY", "DATABASE_HOST", "KEY_ID", "SERVICE_TOKEN"],
    containers: ["NET_BIND_SERVICE"],
    "the health protocol": ["NOT_SERVING"],
    "an RPC's verdict, and a rule": ["RATE_LIMITED", "STRING_UUID", "USER_AGENT"],
    "a way to spell": ["UPPER_SNAKE"],
    "HTTP/2": ["ENHANCE_YOUR_CALM"],
    "a constant of the code": ["COMMAND_LINE_FLAGS"],
  };
  const known = new Set([
    ...withFiles,
    ...Object.keys(ERROR_REASONS),
    ...codes,
    ...contract,
    ...Object.values(OTHERS).flat(),
  ]);

  function withoutComments(path: string): string {
    return readFileSync(path, "utf8").replaceAll(/^\s*(?:\/\/|\/?\*).*$/gm, "");
  }

  const documents = [
    ...["README.md", "compose.yaml", "Dockerfile"],
    ...["docs", "deploy", "proto"].flatMap(filesOf).filter((path) => !path.startsWith("deploy/secrets")),
  ];

  test.each(documents)("in %s is one that is read, or known to be something else", (path) => {
    expect(isTold(readFileSync(path, "utf8")).filter((name) => !known.has(name))).toEqual([]);
  });

  test("in a comment of the code is one that is read, or stands in the code", () => {
    const sources = filesOf("src").filter((path) => path.endsWith(".ts") && !path.startsWith("src/gen"));
    const inCode = new Set(isTold(sources.map(withoutComments).join("\n")));
    const comments = sources.flatMap(
      (path) => readFileSync(path, "utf8").match(/^\s*(?:\/\/|\/?\*).*$/gm) ?? [],
    );
    const told = isTold(comments.join("\n"));
    expect(told.filter((name) => !inCode.has(name) && !known.has(name))).toEqual([]);
  });
});
