import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import type { Environment } from "../../harness/tilegate.mjs";
import { createProgram } from "../../src/cli/program.js";
import { type Config, readConfig, variables } from "../../src/config/config.js";
import { createHealthRoutes } from "../../src/rest/health.js";
import { COMMAND_LINE_FLAGS } from "../../src/v8-flags.js";
import { temporaryDirectory } from "../harness/data-directory.js";
import { type ComposeService, composeService, makeSecrets, moveSecrets, readCompose } from "./manifests.js";

// No container engine runs here: this holds the deployment's files to what the service is.

/** For calls in flight, after the delay: src/cli/serve.ts. */
const DRAIN_SECONDS = 20;

const { files, bin, engines } = JSON.parse(readFileSync("package.json", "utf8"));
const commands = createProgram({}, "").commands.map((command) => command.name());
const isVariable = (name: string) =>
  Object.keys(variables).some((known) => name === known || name === `${known}_FILE`);
const isProbe = (path: string) =>
  createHealthRoutes(
    async () => [],
    () => [],
  ).some((route) => route.method === "GET" && route.path === path);

interface Instruction {
  readonly name: string;
  readonly value: string;
}

/** The Dockerfile's stages, each without its FROM. */
function readStages(): Instruction[][] {
  const text = readFileSync("Dockerfile", "utf8")
    .replaceAll(/^#.*\n/gm, "")
    .replaceAll(/\\\n\s*/g, "");
  const instructions = text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => ({ name: line.replace(/ .*/, ""), value: line.replace(/^\w+ +/, "") }));
  const stages: Instruction[][] = [];
  for (const instruction of instructions) {
    if (instruction.name === "FROM") stages.push([]);
    else stages.at(-1)?.push(instruction);
  }
  return stages;
}

function instructionOf(stage: readonly Instruction[] | undefined, name: string): string {
  const found = stage?.filter((instruction) => instruction.name === name) ?? [];
  expect(found, name).toHaveLength(1);
  return found[0]?.value ?? "";
}

const image = readStages().at(-1) ?? [];
const imageEnv: Environment = Object.fromEntries(
  instructionOf(image, "ENV")
    .split(/ +/)
    .map((pair) => pair.split("=")),
);

/** The configuration that a container with `env` would have, its secrets being those of a new installation. */
async function configOf(env: Environment, mounted: string): Promise<Config> {
  const directory = await temporaryDirectory();
  onTestFinished(() => directory[Symbol.asyncDispose]());
  makeSecrets(directory.path, "postgres");
  const { NODE_ENV: _, ...defaults } = imageEnv;
  return readConfig(moveSecrets({ ...defaults, ...env }, mounted, directory.path));
}

let secrets: string[];
beforeAll(async () => {
  await using directory = await temporaryDirectory();
  secrets = makeSecrets(directory.path, "postgres");
});

describe("Dockerfile", () => {
  test("runs the package's command, and checks its health with it, without a shell", () => {
    expect(JSON.parse(instructionOf(image, "ENTRYPOINT"))).toEqual([
      "node",
      ...COMMAND_LINE_FLAGS,
      bin.tilegate,
    ]);
    const [command] = JSON.parse(instructionOf(image, "CMD"));
    const [, check] = instructionOf(image, "HEALTHCHECK").split("CMD ");
    const [, , healthcheck] = JSON.parse(check ?? "");
    expect(commands).toEqual(expect.arrayContaining([command, healthcheck]));
    expect(instructionOf(image, "STOPSIGNAL")).toBe("SIGTERM");
  });

  test("has everything that the package has, and no development dependency", () => {
    const copied = image.filter(({ name }) => name === "COPY").map(({ value }) => value);
    for (const file of files) expect(copied.some((copy) => copy.endsWith(` ./${file}`))).toBe(true);
    expect(copied).not.toContainEqual(expect.stringMatching(/^\.? |=build .*node_modules/));
    const install = readStages()[1]?.find(({ value }) => value.startsWith("npm ci"))?.value;
    expect(install).toContain("--omit=dev --omit=optional");
  });

  test("sets variables that the service knows, and exposes the port that they name", () => {
    expect(Object.keys(imageEnv).filter((name) => !isVariable(name))).toEqual(["NODE_ENV"]);
    expect(instructionOf(image, "EXPOSE")).toBe(imageEnv.PORT);
    expect(imageEnv.HOST).toBe("0.0.0.0");
    expect(JSON.parse(instructionOf(image, "VOLUME"))).toEqual([imageEnv.DATA_DIR]);
  });

  test("runs as nobody special, by number, on the Node.js of .nvmrc", () => {
    expect(instructionOf(image, "USER")).toMatch(/^[1-9]\d*:[1-9]\d*$/);
    const [, major] = /^ARG NODE_IMAGE=node:(\d+)-/m.exec(readFileSync("Dockerfile", "utf8")) ?? [];
    expect(major).toBe(readFileSync(".nvmrc", "utf8").trim());
    expect(engines.node).toContain(`^${major}.`);
  });

  test("finds in the context what it copies from it", () => {
    const ignore = readFileSync(".dockerignore", "utf8").split("\n");
    expect(ignore.find((line) => !line.startsWith("#"))).toBe("*");
    const sources = readStages()
      .flat()
      .filter(({ name, value }) => name === "COPY" && !value.startsWith("--from"))
      .flatMap(({ value }) => value.split(" ").slice(0, -1))
      .filter((source) => source !== ".");
    for (const source of sources) expect(ignore).toContain(`!${source.replace(/\/.*/, "")}`);
  });
});

describe("compose.yaml", () => {
  const { services, secrets: declared } = readCompose();
  const ours = Object.entries(services).filter(([, { image }]) => image === "tilegate");
  const environmentOf = ({ environment = {} }: ComposeService) => environment;

  test("configures every process of the service so that it would start", async () => {
    expect(ours.map(([name]) => name)).toEqual(["tilegate-1", "tilegate-2", "migrate"]);
    for (const [, service] of ours) {
      expect(Object.keys(environmentOf(service)).filter((name) => !isVariable(name))).toEqual([]);
      const { database, redis } = await configOf(environmentOf(service), "/run/secrets");
      expect(database.kind === "postgres" && new URL(database.url).hostname).toBe("postgres");
      expect(services).toHaveProperty(new URL(redis?.url ?? "").hostname);
      expect(commands).toContain(service.command?.[0]);
    }
  });

  test("has two replicas of one definition, which wait for the migration", () => {
    expect(services["tilegate-1"]).toEqual(services["tilegate-2"]);
    expect(composeService("migrate").command).toEqual(["migrate"]);
    expect(composeService("tilegate-1").depends_on?.migrate?.condition).toBe(
      "service_completed_successfully",
    );
  });

  test("mounts secrets as files, each that is made and no other", () => {
    expect(Object.keys(declared).sort()).toEqual(secrets);
    for (const [name, { file }] of Object.entries(declared)) expect(file).toBe(join("deploy/secrets", name));
    for (const service of Object.values(services)) {
      const used = Object.values(environmentOf(service)).filter((value) => value.startsWith("/run/secrets/"));
      expect(used.map((path) => path.slice("/run/secrets/".length)).sort()).toEqual(
        [...(service.secrets ?? [])].sort(),
      );
    }
  });

  test("opens no port but the proxy's, and lets nothing write to its root", () => {
    const open = Object.entries(services).filter(([, { ports }]) => ports !== undefined);
    expect(open.map(([name]) => name)).toEqual(["proxy"]);
    for (const service of Object.values(services)) expect(service.read_only).toBe(true);
  });

  test("gives replicas the time that they take to stop", async () => {
    for (const name of ["tilegate-1", "tilegate-2"]) {
      const service = composeService(name);
      const { shutdownDelaySeconds } = await configOf(environmentOf(service), "/run/secrets");
      const patience = Number.parseInt(service.stop_grace_period ?? "", 10);
      expect(patience).toBeGreaterThan(shutdownDelaySeconds + DRAIN_SECONDS);
    }
  });

  test("has a proxy that finds the replicas, and looks at them where they tell", () => {
    const caddyfile = readFileSync("deploy/compose/Caddyfile", "utf8");
    const [, upstreams = ""] = /reverse_proxy (.*) \{/.exec(caddyfile) ?? [];
    expect(upstreams.split(" ")).toEqual([`tilegate-1:${imageEnv.PORT}`, `tilegate-2:${imageEnv.PORT}`]);
    const [, probe = ""] = /health_uri (.*)/.exec(caddyfile) ?? [];
    expect(isProbe(probe)).toBe(true);
  });
});

describe("Kubernetes manifests", () => {
  const directory = "deploy/kubernetes";
  const read = (name: string) => parse(readFileSync(join(directory, name), "utf8"));
  const deployment = read("deployment.yaml");
  const job = read("migration-job.yaml");
  const service = read("service.yaml");
  const pods = [deployment.spec.template.spec, job.spec.template.spec];
  const [container] = deployment.spec.template.spec.containers;
  const [migrate] = job.spec.template.spec.containers;

  test("are all applied, except for the example of a Secret", () => {
    const applied = [...read("kustomization.yaml").resources, "kustomization.yaml", "secret.example.yaml"];
    expect(applied.sort()).toEqual(readdirSync(directory).sort());
  });

  test("configure the service and the migration so that they would start", async () => {
    for (const { env, args, volumeMounts } of [container, migrate]) {
      const values = env.map(({ name, value }: { name: string; value: string }) => [name, value]);
      expect(values.filter(([name]: [string]) => !isVariable(name))).toEqual([]);
      const config = await configOf(Object.fromEntries(values), volumeMounts[0].mountPath);
      expect(config.database.kind).toBe("postgres");
      expect(commands).toContain(args[0]);
    }
  });

  test("take secrets from files of a Secret that has what is made", () => {
    for (const { volumes } of pods) expect(volumes[0].secret.secretName).toBe("tilegate");
    const example = read("secret.example.yaml");
    expect(Object.keys(example.stringData).sort()).toEqual(
      secrets.filter((name) => name !== "postgres-password"),
    );
  });

  test("probe what the service answers, on the port that it listens on", () => {
    for (const kind of ["startupProbe", "livenessProbe", "readinessProbe"]) {
      const { path, port } = container[kind].httpGet;
      expect(isProbe(path)).toBe(true);
      expect(port).toBe(container.ports[0].name);
    }
    expect(container.livenessProbe.httpGet.path).toBe("/healthz");
    expect(container.readinessProbe.httpGet.path).toBe("/readyz");
    expect(container.ports[0].containerPort).toBe(Number(imageEnv.PORT));
    expect(service.spec.ports[0]).toMatchObject({
      targetPort: container.ports[0].name,
      appProtocol: "kubernetes.io/h2c",
    });
  });

  test("run as the image's user, who may write nowhere and become nobody else", () => {
    const [uid, gid] = instructionOf(image, "USER").split(":").map(Number);
    for (const { securityContext, containers } of pods) {
      expect(securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: uid, runAsGroup: gid });
      expect(containers[0].securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
    }
  });

  test("select the service's pods, and leave them the time that they take to stop", async () => {
    const { labels } = deployment.spec.template.metadata;
    for (const selector of [
      deployment.spec.selector.matchLabels,
      service.spec.selector,
      read("pod-disruption-budget.yaml").spec.selector.matchLabels,
      ...deployment.spec.template.spec.topologySpreadConstraints.map(
        (constraint: { labelSelector: { matchLabels: object } }) => constraint.labelSelector.matchLabels,
      ),
    ]) {
      expect(labels).toMatchObject(selector);
    }
    const values = container.env.map(({ name, value }: { name: string; value: string }) => [name, value]);
    const config = await configOf(Object.fromEntries(values), container.volumeMounts[0].mountPath);
    expect(deployment.spec.template.spec.terminationGracePeriodSeconds).toBeGreaterThan(
      config.shutdownDelaySeconds + DRAIN_SECONDS,
    );
  });
});

test("the secrets of a new installation are its own, and what is there already stays", async () => {
  await using first = await temporaryDirectory();
  await using second = await temporaryDirectory();
  const read = (directory: string) =>
    makeSecrets(directory, "postgres").map((name) => readFileSync(join(directory, name), "utf8"));
  const made = read(first.path);
  expect(read(first.path)).toEqual(made);
  for (const secret of read(second.path)) expect(made).not.toContain(secret);
});
