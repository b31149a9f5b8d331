/**
 * What the tabs of a group say to each other: `ask` for the values that the leader has; `tell` them, or be `here` and have none that a node
 * confirmed; `beat` when a node confirmed what was told.
 */
export type GroupMessage<Values> =
  | { readonly type: 'ask' }
  | { readonly type: 'tell'; readonly values: Values }
  | { readonly type: 'here' }
  | { readonly type: 'beat' };

export interface GroupMember<Values> {
  /** This tab alone talks to a node from now on. */
  lead(): void;
  /** It does no more. */
  follow(): void;
  /** What this tab has; undefined: nothing that a node confirmed. */
  values(): Values | undefined;
  /** What the leader has. */
  told(values: Values): void;
  /** What the leader told last was confirmed by a node. */
  confirmed(): void;
}

/** A leader that does not answer in this time is frozen. */
const ANSWER_MS_MAX = 3_000;
/** Leaders beat when a node does or a poll was answered; after this long without, they are asked. */
const SILENCE_MS_MAX = 90_000;

/**
 * The tabs of one origin that want the values of one key and context: one of them has the connection. Who leads is who holds a lock, so that the next
 * one leads as soon as a tab is closed or crashes. A tab that nobody looks at sleeps: it does not lead, and hears what others say.
 *
 *   asleep     does not want the lock                wake -> following
 *   following  waits for the lock                    granted, or taken from a frozen leader -> leading; sleep -> asleep
 *   leading    holds it                              taken away -> following; sleep -> asleep
 *
 * Where a browser has no locks or channels (a page that is not secure), each tab is a group of its own.
 */
export class TabGroup<Values> {
  readonly #name: string;
  readonly #member: GroupMember<Values>;
  /** From the first time it is awake. */
  #channel: BroadcastChannel | undefined;
  #state: 'asleep' | 'following' | 'leading' = 'asleep';
  /** Ends the request for the lock, or gives it back. */
  #withdraw: (() => void) | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(name: string, member: GroupMember<Values>) {
    this.#name = name;
    this.#member = member;
  }

  wake(): void {
    if (this.#state !== 'asleep') return;
    this.#state = 'following';
    if (typeof BroadcastChannel === 'undefined' || navigator.locks === undefined) {
      this.#lead();
      return;
    }
    if (this.#channel === undefined) {
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.onmessage = ({ data }: MessageEvent<GroupMessage<Values>>) => this.#hear(data);
    }
    this.#contend({});
    this.#ask();
  }

  sleep(): void {
    const wasLeading = this.#state === 'leading';
    this.#state = 'asleep';
    clearTimeout(this.#timer);
    this.#withdraw?.();
    this.#withdraw = undefined;
    if (wasLeading) this.#member.follow();
  }

  /** Of a leader: its values are others, or were confirmed. */
  tell(message: GroupMessage<Values>): void {
    if (this.#state === 'leading') this.#channel?.postMessage(message);
  }

  close(): void {
    this.sleep();
    this.#channel?.close();
  }

  #contend(how: { readonly steal?: true }): void {
    const abort = new AbortController();
    const given = new Promise<void>((release) => {
      this.#withdraw = () => {
        abort.abort();
        release();
      };
    });
    // Whoever steals cannot be told to wait no longer: he does not wait.
    const options = how.steal === true ? how : { signal: abort.signal };
    navigator.locks
      .request(this.#name, options, () => {
        if (abort.signal.aborted) return;
        this.#lead();
        return given;
      })
      .catch(() => {
        // Withdrawn, or taken by a tab that believed this one frozen.
        if (abort.signal.aborted || this.#state !== 'leading') return;
        this.#state = 'following';
        this.#member.follow();
        this.#contend({});
        this.#watch();
      });
  }

  #lead(): void {
    clearTimeout(this.#timer);
    this.#state = 'leading';
    this.#member.lead();
  }

  /** Also tells whether anybody leads who can answer. */
  #ask(): void {
    this.#channel?.postMessage({ type: 'ask' });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#state !== 'following') return;
      this.#withdraw?.();
      this.#contend({ steal: true });
    }, ANSWER_MS_MAX);
  }

  #watch(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), SILENCE_MS_MAX);
  }

  #hear(message: GroupMessage<Values>): void {
    if (message.type === 'ask') {
      const values = this.#member.values();
      this.tell(values === undefined ? { type: 'here' } : { type: 'tell', values });
      return;
    }
    // A leader that lost the lock may have said something before it knew.
    if (this.#state === 'leading') return;
    if (this.#state === 'following') this.#watch();
    if (message.type === 'tell') this.#member.told(message.values);
    else if (message.type === 'beat') this.#member.confirmed();
  }
}
