import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { temporaryDirectory } from "./data-directory.js";

/** A volume as Kubernetes mounts a Secret: its files are symlinks through `..data`, which is swapped whole. */
export interface SecretVolume extends AsyncDisposable {
  /** @returns Where a file of that name is. */
  pathOf(name: string): string;
  put(files: Readonly<Record<string, string>>): Promise<void>;
}

/** @param files The first ones. Later there are none of other names. */
export async function createSecretVolume(files: Readonly<Record<string, string>>): Promise<SecretVolume> {
  const directory = await temporaryDirectory();
  const pathOf = (name: string) => join(directory.path, name);
  let versions = 0;

  async function put(content: Readonly<Record<string, string>>): Promise<void> {
    const version = `..version_${++versions}`;
    mkdirSync(pathOf(version));
    for (const [name, text] of Object.entries(content)) writeFileSync(join(pathOf(version), name), text);
    symlinkSync(version, pathOf("..data_tmp"));
    await rename(pathOf("..data_tmp"), pathOf("..data"));
  }

  for (const name of Object.keys(files)) symlinkSync(join("..data", name), pathOf(name));
  await put(files);
  return { pathOf, put, [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose]() };
}
