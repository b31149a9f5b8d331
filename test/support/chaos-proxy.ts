import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

const ACCEPTED_COUNT_MAX = 100_000;

/** One connection through the proxy, as its two ends. */
interface Pair {
  readonly client: Socket;
  readonly upstream: Socket;
  /** Half-open: nothing is carried any more, and neither side is told that the other has gone. */
  isSilent: boolean;
}

/**
 * A TCP proxy on a port of its own that can be what networks are: connections that are reset, refused, or half-open, which both sides hold for
 * alive while nothing arrives. Each process whose network is to fail is given the proxy's port in place of the real one.
 */
export class ChaosProxy {
  /** Where new connections go; a process that was restarted may have another port. */
  targetPort: number;
  /** `performance.now()` of each connection that a client made, the first ACCEPTED_COUNT_MAX of them. */
  readonly acceptedAtMs: number[] = [];
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #mode: 'carries' | 'refuses' | 'swallows' = 'carries';

  static async start(targetPort: number): Promise<ChaosProxy> {
    const proxy = new ChaosProxy(targetPort);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  private constructor(targetPort: number) {
    this.targetPort = targetPort;
    this.#server = createServer((client) => this.#accept(client));
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  get connectionCount(): number {
    return this.#pairs.size;
  }

  /** Every connection ends with a RST on both sides; new ones are carried. */
  reset(): void {
    for (const pair of this.#pairs) this.#end(pair);
  }

  /** As reset(), and so do new ones, until heal(). */
  refuse(): void {
    this.#mode = 'refuses';
    this.reset();
  }

  /** From here on whatever is sent, on old connections and new ones, arrives nowhere. */
  swallow(): void {
    this.#mode = 'swallows';
    for (const pair of this.#pairs) pair.isSilent = true;
  }

  /** New connections are carried. Half-open ones stay so for ever, unless `resetsSilent`: a router that is back answers what it does not know. */
  heal({ resetsSilent = false }: { readonly resetsSilent?: boolean } = {}): void {
    this.#mode = 'carries';
    if (resetsSilent) for (const pair of this.#pairs) if (pair.isSilent) this.#end(pair);
  }

  async close(): Promise<void> {
    this.#server.close();
    this.reset();
    await once(this.#server, 'close');
  }

  #accept(client: Socket): void {
    if (this.acceptedAtMs.length < ACCEPTED_COUNT_MAX) this.acceptedAtMs.push(performance.now());
    client.on('error', () => undefined);
    if (this.#mode === 'refuses') {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect(this.targetPort, '127.0.0.1');
    const pair: Pair = { client, upstream, isSilent: this.#mode === 'swallows' };
    this.#pairs.add(pair);
    this.#carry(pair, client, upstream);
    this.#carry(pair, upstream, client);
  }

  #carry(pair: Pair, from: Socket, to: Socket): void {
    from.setNoDelay(true);
    from.on('error', () => undefined);
    from.on('data', (chunk: Buffer) => {
      if (pair.isSilent) return;
      if (to.write(chunk)) return;
      from.pause();
      to.once('drain', () => from.resume());
    });
    from.on('end', () => {
      if (!pair.isSilent) to.end();
    });
    from.on('close', (hadError) => {
      if (pair.isSilent && !to.destroyed) return;
      this.#pairs.delete(pair);
      if (to.destroyed) return;
      if (hadError) to.resetAndDestroy();
      else to.destroySoon();
    });
  }

  #end({ client, upstream }: Pair): void {
    client.resetAndDestroy();
    upstream.resetAndDestroy();
  }
}
