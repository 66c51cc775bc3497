import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { DescMethod } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as Level } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AccountService } from "../../src/gen/proto/tilegate/v1/account_service_pb.js";
import { ApiKeyService } from "../../src/gen/proto/tilegate/v1/api_key_service_pb.js";
import { AuditService } from "../../src/gen/proto/tilegate/v1/audit_service_pb.js";
import { DatasetService } from "../../src/gen/proto/tilegate/v1/dataset_service_pb.js";
import { TileTokenService } from "../../src/gen/proto/tilegate/v1/tile_token_service_pb.js";
import { operator, startTestApp, type TestApp } from "../harness/app.js";

const folder = "proto/tilegate/v1";
const files = readdirSync(folder).map((file) => readFileSync(join(folder, file), "utf8"));

/** What stands above a service, message or RPC, without its slashes and line ends. */
const comments = new Map(
  files
    .flatMap((text) => [...text.matchAll(/((?:^ *\/\/.*\n)+) *(?:service|rpc|message) (\w+)/gm)])
    .map(([, comment = "", name]) => [name, comment.replaceAll(/\n? *\/\/ ?/g, " ").trim()]),
);
const commentOf = (name: string): string => comments.get(name) ?? "";

const services = [TileTokenService, ApiKeyService, DatasetService, AccountService, AuditService];
const methods = services.flatMap((service) => service.methods);

test("every service of the contract is looked at", () => {
  const declared = files.flatMap((text) => [...text.matchAll(/^service (\w+)/gm)].map(([, name]) => name));
  expect(services.map(({ name }) => name).sort()).toEqual(declared.sort());
});

describe.each(methods.map((method): [string, DescMethod] => [method.name, method]))("%s", (name, method) => {
  const comment = commentOf(name);

  test("has a level of idempotency, or says why it has none", () => {
    const saysWhyNone = /\bNot idempotent: /.test(comment);
    expect(saysWhyNone).toBe(method.idempotency === Level.IDEMPOTENCY_UNKNOWN);
  });

  test("says why it can't be called with GET if it seems to only read", () => {
    const reads = /^(?:Get|BatchGet|List|Verify)/.test(name);
    const isIdempotentOnly = method.idempotency === Level.IDEMPOTENT;
    expect(/Not callable with GET\b/.test(comment)).toBe(reads && isIdempotentOnly);
  });

  test("lists its errors, those of its service by reference", () => {
    const [, errors = ""] = comment.split("Errors: ");
    const common = commentOf(method.parent.name).split("Errors of every RPC: ")[1];
    const all = errors.startsWith("the service's") ? `${common} ${errors}` : errors;
    for (const code of ["INVALID_ARGUMENT", "UNAUTHENTICATED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"]) {
      expect(all).toContain(code);
    }
  });
});

test("no comment of a message says nothing but its name", () => {
  const filler = [...comments].filter(([, comment]) => /^An? (?:page of )?[\w ]{1,12}\.$/.test(comment));
  expect(filler).toEqual([]);
});

describe("what is not served yet", () => {
  let app: TestApp;
  beforeAll(async () => {
    app = await startTestApp();
  });
  afterAll(() => app[Symbol.asyncDispose]());

  test.each(methods)("of $name is known from its comment", async (method) => {
    const response = await app.fetch(`/${method.parent.typeName}/${method.name}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...operator },
      body: method === TileTokenService.method.revokeTileTokens ? JSON.stringify({ datasetId: ID }) : "{}",
    });
    const { code } = (await response.json()) as { code?: string };
    expect(/Not served yet: UNIMPLEMENTED\b/.test(commentOf(method.name))).toBe(code === "unimplemented");
  });
});

const ID = "2489e9ad-2ee2-8e00-8ec9-32d5f69181c0";
