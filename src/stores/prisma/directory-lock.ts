import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmod, link, readdir, realpath, rm } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The message is for the operator. */
export class DirectoryInUseError extends Error {
  override readonly name = "DirectoryInUseError";
  constructor(readonly directory: string) {
    super(`${directory} is in use by another process: stop it, or choose another directory (DATA_DIR)`);
  }
}

// Addresses of Unix sockets end at 104 bytes on macOS and at 108 on Linux.
const MAX_SOCKET_PATH_BYTES = 100;

/**
 * Takes an existing directory for this process until disposed.
 *
 * The lock is a Unix socket that its owner listens on. The kernel closes it with the process, however that ends: nothing
 * depends on process ids, which are reused and are all 1 in containers.
 *
 * Sockets are numbered, and only the highest counts. Whoever finds it dead links its own as the next, which
 * succeeds for one only. The highest is never removed, so that a late contender can't mistake an old
 * number for the next: it finds a higher one after linking.
 *
 * @throws DirectoryInUseError
 */
export async function lockDirectory(directory: string): Promise<AsyncDisposable> {
  const { parent, name } = await socketLocation(directory);
  // It listens before it gets a number: a numbered socket that refuses connections is dead, never being born.
  const candidate = `${name}.candidate-${randomBytes(4).toString("hex")}`;
  const server = await listen(join(parent, candidate));
  try {
    await chmod(join(parent, candidate), 0o600);
    let number: number;
    do {
      const highest = await highestNumber(parent, name);
      if (highest > 0 && (await isAlive(join(parent, `${name}.${highest}`)))) {
        throw new DirectoryInUseError(directory);
      }
      number = highest + 1;
    } while (
      !(await linkIfFree(join(parent, candidate), join(parent, `${name}.${number}`))) ||
      (await highestNumber(parent, name)) > number
    );
    await rm(join(parent, candidate), { force: true });
    await removeDead(parent, name, number);
  } catch (error) {
    await close(server);
    // An owner that came first has removed the candidate, which did not listen yet.
    throw hasCode(error, "ENOENT") ? new DirectoryInUseError(directory) : error;
  }
  return { [Symbol.asyncDispose]: () => close(server) };
}

/** In the directory itself, where every container that mounts it meets the lock, if the path is short enough. */
async function socketLocation(directory: string): Promise<{ parent: string; name: string }> {
  const real = await realpath(directory);
  if (Buffer.byteLength(join(real, "lock.candidate-00000000")) <= MAX_SOCKET_PATH_BYTES) {
    return { parent: real, name: "lock" };
  }
  const digest = createHash("sha256").update(real).digest("hex").slice(0, 16);
  return { parent: tmpdir(), name: `tilegate-${digest}` };
}

async function listen(path: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  server.listen({ path, exclusive: true });
  await once(server, "listening");
  return server.unref();
}

/** Removes the candidate's name too, if it still has it. */
async function close(server: Server): Promise<void> {
  server.close();
  await once(server, "close");
}

/** 0 if there is none. */
async function highestNumber(parent: string, name: string): Promise<number> {
  const numbers = (await siblings(parent, name)).map((suffix) => (/^\d+$/.test(suffix) ? Number(suffix) : 0));
  return Math.max(0, ...numbers);
}

async function siblings(parent: string, name: string): Promise<readonly string[]> {
  const names = await readdir(parent);
  return names.filter((each) => each.startsWith(`${name}.`)).map((each) => each.slice(name.length + 1));
}

async function linkIfFree(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (hasCode(error, "EEXIST")) return false;
    throw error;
  }
}

/** In doubt (a full backlog, somebody else's socket) it is alive: refusing is safe. */
async function isAlive(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, "connect");
    return true;
  } catch (error) {
    return !hasCode(error, "ECONNREFUSED") && !hasCode(error, "ENOENT");
  } finally {
    socket.destroy();
  }
}

async function removeDead(parent: string, name: string, owned: number): Promise<void> {
  for (const suffix of await siblings(parent, name)) {
    const path = join(parent, `${name}.${suffix}`);
    if (suffix !== String(owned) && !(await isAlive(path))) await rm(path, { force: true });
  }
}

const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && "code" in error && error.code === code;
