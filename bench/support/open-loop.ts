import { RawConnection } from './raw-connection.js';
import { percentile, rounded } from './statistics.js';

export interface OpenLoopOptions {
  readonly port: number;
  /** Whole requests, sent in turn. */
  readonly requests: readonly Uint8Array[];
  readonly ratePerSecond: number;
}

export interface Latencies {
  readonly sent: number;
  /** No 200, or no answer at all. */
  readonly failures: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

const CONNECTION_COUNT = 64;
/** Behind the last request. */
const LAST_ANSWERS_MS = 5_000;

/**
 * Sends requests on a fixed schedule, whatever the answers do. A latency runs from when the schedule has the request to its whole answer, so
 * a server, or a generator, that stands still is charged with every request that should have been sent meanwhile.
 */
export class OpenLoop {
  readonly #options: OpenLoopOptions;
  readonly #connections: RawConnection[];

  static async open(options: OpenLoopOptions): Promise<OpenLoop> {
    const opening = Array.from({ length: CONNECTION_COUNT }, () => RawConnection.open(options.port));
    return new OpenLoop(options, await Promise.all(opening));
  }

  private constructor(options: OpenLoopOptions, connections: RawConnection[]) {
    this.#options = options;
    this.#connections = connections;
  }

  async run(seconds: number): Promise<Latencies> {
    const { ratePerSecond } = this.#options;
    const count = Math.floor(ratePerSecond * seconds);
    const latencies = new Float64Array(count);
    let answered = 0;
    let failures = 0;
    const startMs = performance.now();
    for (let sent = 0; sent < count; ) {
      const dueMs = performance.now() - startMs;
      for (; sent < count && (sent * 1_000) / ratePerSecond <= dueMs; sent += 1) {
        const scheduledMs = startMs + (sent * 1_000) / ratePerSecond;
        this.#send(sent, (status) => {
          latencies[answered] = performance.now() - scheduledMs;
          answered += 1;
          if (status !== 200) failures += 1;
        });
      }
      await new Promise((wake) => setTimeout(wake, 1));
    }
    const deadline = performance.now() + LAST_ANSWERS_MS;
    while (answered < count && performance.now() < deadline) await new Promise((wake) => setTimeout(wake, 5));
    failures += count - answered;
    const at = (share: number) => rounded(percentile(latencies.subarray(0, answered), share), 2);
    return { sent: count, failures, p50Ms: at(0.5), p99Ms: at(0.99), p999Ms: at(0.999), maxMs: at(1) };
  }

  close(): void {
    for (const connection of this.#connections) connection.close();
  }

  /** Over the connection that has least to answer of two, so that one slow answer does not hold up others behind it. */
  #send(index: number, onAnswer: (status: number) => void): void {
    const { requests } = this.#options;
    const request = requests[index % requests.length];
    const first = this.#connections[index % CONNECTION_COUNT];
    const second = this.#connections[(index * 7 + 3) % CONNECTION_COUNT];
    if (request === undefined || first === undefined || second === undefined) return;
    const connection = second.unansweredCount < first.unansweredCount ? second : first;
    connection.send(request, onAnswer);
  }
}
