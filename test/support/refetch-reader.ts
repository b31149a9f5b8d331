export interface RefetchEvent {
  readonly id: string | undefined;
  readonly data: unknown;
}

/** A client of OFREP's event stream over real fetch: what it was told, and when first. */
export class RefetchReader {
  readonly events: RefetchEvent[] = [];
  readonly #abort: AbortController;
  readonly status: number;
  readonly headers: Headers;
  /** Everything that arrived. */
  text = '';
  hasEnded = false;
  /** performance.now() of the first event. */
  firstEventMs = Number.NaN;

  static async open(url: string, headers: Record<string, string> = {}): Promise<RefetchReader> {
    const abort = new AbortController();
    const answer = await fetch(url, { headers, signal: abort.signal });
    return new RefetchReader(answer, abort);
  }

  private constructor(answer: Response, abort: AbortController) {
    this.#abort = abort;
    this.status = answer.status;
    this.headers = answer.headers;
    void this.#read(answer)
      .catch(() => undefined)
      .finally(() => {
        this.hasEnded = true;
      });
  }

  async #read({ body }: Response): Promise<void> {
    const decoder = new TextDecoder();
    let rest = '';
    for await (const chunk of body ?? []) {
      const part = decoder.decode(chunk, { stream: true });
      this.text += part;
      const blocks = (rest + part).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) this.#hear(block);
    }
  }

  #hear(block: string): void {
    const data = /^data: (.*)$/m.exec(block)?.[1];
    if (data === undefined) return;
    if (this.events.length === 0) this.firstEventMs = performance.now();
    this.events.push({ id: /^id: (.*)$/m.exec(block)?.[1], data: JSON.parse(data) });
  }

  close(): void {
    this.#abort.abort();
  }
}
