const POLL_MS = 5;

/** Resolves when `condition` holds; asks again and again, for so many seconds at most. */
export async function eventually(condition: () => Promise<boolean>, seconds = 10): Promise<void> {
  const deadline = performance.now() + 1_000 * seconds;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`it did not happen within ${seconds} s`);
    // Not as soon as it can: what it waits for needs the processor too.
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
