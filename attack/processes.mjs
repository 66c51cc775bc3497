// What Linux tells of a running server: of its process and, where it has workers, of theirs, in all.
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";

/** Of /proc/PID/stat (USER_HZ): the same on every Linux. */
const TICKS_PER_SECOND = 100;

/** @param {number} pid @returns {number[]} It and its descendants; none once it has ended. */
export function processesOf(pid) {
  const children = read(`/proc/${pid}/task/${pid}/children`);
  if (children === undefined) return [];
  return [
    pid,
    ...children
      .split(" ")
      .filter(Boolean)
      .flatMap((child) => processesOf(Number(child))),
  ];
}

/** Resident memory in MB. @param {number} pid */
export const residentMb = (pid) => sumOfStatus(pid, "VmRSS");

/** The most resident memory since it was last asked to begin anew, in MB. @param {number} pid */
export const highestMb = (pid) => sumOfStatus(pid, "VmHWM");

/** Lets the highest begin at what is resident now. @param {number} pid */
export function resetHighest(pid) {
  for (const each of processesOf(pid)) writeFileSync(`/proc/${each}/clear_refs`, "5");
}

/** CPU time until now, of all threads, in seconds. @param {number} pid */
export function cpuSeconds(pid) {
  let ticks = 0;
  for (const each of processesOf(pid)) {
    // The command's name, which may hold blanks, ends with a parenthesis.
    const fields = read(`/proc/${each}/stat`)?.split(") ").at(-1)?.split(" ") ?? [];
    ticks += Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
  }
  return ticks / TICKS_PER_SECOND;
}

/**
 * The sockets that it has open, each once: also those that the kernel has given up, which no list of connections has.
 * @param {number} pid @returns {Set<string>}
 */
export function socketsOf(pid) {
  /** @type {Set<string>} */
  const sockets = new Set();
  for (const each of processesOf(pid)) {
    for (const descriptor of list(`/proc/${each}/fd`)) {
      const target = link(`/proc/${each}/fd/${descriptor}`);
      if (target?.startsWith("socket:")) sockets.add(target.slice("socket:[".length, -1));
    }
  }
  return sockets;
}

/** The sockets that are connected to one of these ports: to a database. @param {readonly number[]} ports */
export function socketsTo(ports) {
  const lines = read("/proc/self/net/tcp")?.split("\n").slice(1) ?? [];
  return new Set(
    lines
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , remote = ""]) => ports.includes(Number.parseInt(remote.split(":")[1] ?? "", 16)))
      .map((fields) => fields[9] ?? ""),
  );
}

/** @param {number} pid @param {string} name */
function sumOfStatus(pid, name) {
  const kilobytes = processesOf(pid).map((each) => {
    const status = read(`/proc/${each}/status`) ?? "";
    return Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0);
  });
  return kilobytes.reduce((sum, each) => sum + each, 0) / 1024;
}

/** @param {string} path */
const read = (path) => unlessGone(() => readFileSync(path, "utf8"));
/** @param {string} path */
const list = (path) => unlessGone(() => readdirSync(path)) ?? [];
/** @param {string} path */
const link = (path) => unlessGone(() => readlinkSync(path));

/** @template T @param {() => T} look @returns {T | undefined} Undefined for a process, or descriptor, that has ended. */
function unlessGone(look) {
  try {
    return look();
  } catch {
    return undefined;
  }
}
