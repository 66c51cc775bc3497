import { Agent, request } from "node:http";
import { json } from "node:stream/consumers";

/** Batches without end, over kept-alive connections, until it is disposed. */
export interface Load extends AsyncDisposable {
  /** Resolves when so many more calls have been answered. */
  calls(count: number): Promise<void>;
  readonly answered: number;
  /** What calls brought that did not bring a token for each dataset. */
  readonly failures: readonly string[];
  /** Milliseconds of the call that took longest. */
  readonly slowest: number;
}

/** As many callers as a busy site's proxy has connections to one replica. */
const CALLERS = 16;

export function startLoad(url: string, ids: readonly string[]): Load {
  const agent = new Agent({ keepAlive: true, maxSockets: CALLERS });
  const body = JSON.stringify({ dataset_ids: ids });
  const failures: string[] = [];
  const waiting = new Set<{ readonly at: number; resolve(): void }>();
  let answered = 0;
  let slowest = 0;
  let stopped = false;

  async function callOnce(): Promise<void> {
    const start = performance.now();
    try {
      const { status, answer } = await post(`${url}/api/tiles/tokens/`, body, agent);
      const tokens = Object.values(answer.tokens ?? {});
      const complete = tokens.length === ids.length && tokens.every((token) => token.sig !== undefined);
      if (status !== 200 || !complete) failures.push(`${status} ${JSON.stringify(answer)}`);
    } catch (error) {
      failures.push(String(error));
    }
    slowest = Math.max(slowest, performance.now() - start);
    answered++;
    for (const waiter of waiting) {
      if (answered < waiter.at) continue;
      waiting.delete(waiter);
      waiter.resolve();
    }
  }

  const callers = Array.from({ length: CALLERS }, async () => {
    while (!stopped) await callOnce();
  });
  return {
    calls: (count) => new Promise((resolve) => waiting.add({ at: answered + count, resolve })),
    get answered() {
      return answered;
    },
    failures,
    get slowest() {
      return slowest;
    },
    async [Symbol.asyncDispose]() {
      stopped = true;
      await Promise.all(callers);
      agent.destroy();
    },
  };
}

interface Answer {
  readonly tokens?: Record<string, { readonly sig?: string }>;
}

function post(url: string, body: string, agent: Agent): Promise<{ status: number; answer: Answer }> {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const call = request(url, { method: "POST", agent, headers }, (response) => {
      json(response).then(
        (answer) => resolve({ status: response.statusCode ?? 0, answer: answer as Answer }),
        reject,
      );
    });
    call.on("error", reject);
    call.end(body);
  });
}
