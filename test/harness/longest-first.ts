import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Folders and files that start processes and wait for them, the longest first. */
const LONG = [
  "test/attack/",
  "test/cli/serve",
  "test/cli/workers",
  "test/deploy/",
  "test/faults/",
  "test/package/",
  "test/cli/",
  "test/stores/",
];

/** Begins with what takes long, so that all workers end together, also where no earlier run has left its durations. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const place = LONG.findIndex((part) => moduleId.includes(part));
      return place === -1 ? LONG.length : place;
    };
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b));
  }
}
