import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { vectorArchive } from "../../harness/edge/pmtiles.mjs";
import { programDirectory } from "../../harness/edge/program.mjs";
import { edgeProgram, missingPrograms, NPM_PACKAGES } from "../../harness/edge/programs.mjs";
import { configureNginx } from "../../harness/edge/proxies.mjs";
import { ROOT } from "../../harness/node-process.mjs";
import { freePort } from "../../harness/ports.mjs";
import { tilegateArgs } from "../../harness/tilegate.mjs";
import { eventually } from "../harness/eventually.js";

/** The embedded database is created. */
const START_SECONDS = 120;

const NUMBERS = ["no", "one", "two", "three", "four", "five", "six"];

test("the example's archive is what the tests have", async () => {
  const archive = await readFile(join(ROOT, "examples/tileserver-gl/ne_countries.pmtiles"));
  expect(archive.equals(vectorArchive("ne_countries", 2))).toBe(true);
});

test.skipIf(missingPrograms(["nginx", "tileserver-gl"]).length > 0)(
  "docs/edge.md alone protects a tile source, in as many commands as it says",
  async () => {
    const directory = await programDirectory();
    onTestFinished(() => directory[Symbol.asyncDispose]());
    const page = await readFile(join(ROOT, "docs/edge.md"), "utf8");
    const [, section = ""] = page.split("\n## Try it\n");
    const [start = "", verify = "", expected] = Array.from(
      section.split("\n## ")[0]?.matchAll(/```(?:sh|text)\n(.*?)```/gs) ?? [],
      ([, block]) => block,
    );
    const count = NUMBERS.indexOf(/ in (\w+) commands/.exec(section)?.[1] ?? "");
    expect(start.trim().split("\n")).toHaveLength(count);

    const here = await machine(directory.path);
    const shell = (script: string) =>
      spawn("bash", ["-c", here.text(script)], {
        cwd: directory.path,
        env: here.env,
        // All that it starts ends with it.
        detached: true,
        stdio: ["ignore", "pipe", "inherit"],
      });
    const site = shell(`${start}\nwait`);
    const ended = once(site, "close");
    onTestFinished(async () => {
      if (site.pid !== undefined) process.kill(-site.pid, "SIGKILL");
      await ended;
    });
    site.stdout.resume();
    await eventually(here.isReady, START_SECONDS);
    expect(await text(shell(verify).stdout)).toBe(expected);
  },
  2_000 * START_SECONDS,
);

/**
 * What the page's machine has, in a directory: its checkout's examples, nginx' configuration, and commands that install and start what is
 * installed here already. Ports are others.
 */
async function machine(directory: string) {
  const [tilegate, tiles, site] = [await freePort(), await freePort(), await freePort()];
  const inside = (name: string) => join(directory, name);
  const moved = (said: string) =>
    said
      .replaceAll("8080", String(tilegate))
      .replaceAll("3000", String(tiles))
      .replace("listen 8000;", `listen 127.0.0.1:${site};`)
      .replaceAll(":8000", `:${site}`)
      .replaceAll("/etc/nginx/", inside("etc/"))
      .replaceAll("/var/lib/nginx/", inside("etc/"));

  await mkdir(inside("etc/conf.d"), { recursive: true });
  await cp(join(ROOT, "examples"), inside("examples"), { recursive: true });
  const example = inside("examples/nginx/tiles.conf");
  await writeFile(example, moved(await readFile(example, "utf8")));
  const nginx = [
    edgeProgram("nginx"),
    ...(await configureNginx(inside("etc"), { sites: "conf.d/*.conf" })),
  ].join(" ");

  const version = NPM_PACKAGES["tileserver-gl-light"];
  const commands = {
    // Not in the environment of all: tileserver-gl would take PORT for its own.
    npm: `case "$*" in ci) ;; start) PORT=${tilegate} DATA_DIR=${inside("data")} exec node ${tilegateArgs(["serve"]).join(" ")} ;; *) exit 1 ;; esac`,
    npx: `[ "$1 $2" = "-y tileserver-gl-light@${version}" ] && shift 2 && exec node ${edgeProgram("tileserver-gl")} "$@"`,
    "apt-get": '[ "$*" = "install -y nginx" ]',
    service: `[ "$*" = "nginx restart" ] && exec ${nginx} &`,
  };
  await mkdir(inside("bin"));
  for (const [name, script] of Object.entries(commands)) {
    await writeFile(inside(`bin/${name}`), `#!/bin/sh\n${script}\n`);
    await chmod(inside(`bin/${name}`), 0o755);
  }

  const answers = (url: string) =>
    fetch(url).then(
      ({ status }) => status !== 503,
      () => false,
    );
  return {
    text: moved,
    env: {
      PATH: `${inside("bin")}:${process.env.PATH}`,
      HOME: directory,
    },
    isReady: async () =>
      (await answers(`http://127.0.0.1:${tilegate}/readyz`)) &&
      (await answers(`http://127.0.0.1:${tiles}/data/ne_countries.json`)) &&
      (await answers(`http://127.0.0.1:${site}/`)),
  };
}
