import type { SiblingChannel } from "../stores/cache/siblings.js";

/** What workers tell each other, through the primary, which sends it on and doesn't look inside. */
export const ANNOUNCEMENT = "tilegate:announcement";

/** Of a worker to its siblings. Undefined where this process has no primary. */
export function createSiblingChannel(worker: NodeJS.Process): SiblingChannel | undefined {
  if (worker.send === undefined) return undefined;
  return {
    send: (announcement) =>
      new Promise((resolve) => {
        // A primary that is gone takes its workers along: nobody is left to be told.
        worker.send?.({ type: ANNOUNCEMENT, announcement }, undefined, undefined, () => resolve());
      }),
    listen(receive) {
      const hear = (message: unknown) => {
        if (isAnnouncement(message)) receive(message.announcement);
      };
      worker.on("message", hear);
      return { [Symbol.dispose]: () => void worker.off("message", hear) };
    },
  };
}

const isAnnouncement = (message: unknown): message is { announcement: string } =>
  typeof message === "object" &&
  message !== null &&
  Reflect.get(message, "type") === ANNOUNCEMENT &&
  typeof Reflect.get(message, "announcement") === "string";
