import { definitionKey, encodeDefinition } from '@guidon/engine';
import { InProcessChangeBus, messageIdOf, subjectOf } from '@guidon/protocol';
import { encodeConfigMessage } from '@guidon/protocol/msgpack';
import { DigestTree, hashDefinition } from '@guidon/protocol/signed-config';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { aChunk, aFlag, aSegment } from '../support/flag-sets.js';
import { sendJson } from '../support/http.js';
import { poison, type RawDefinition } from '../support/poison.js';
import {
  type RunningNode,
  removeTemporaryDirectories,
  startNode,
  until,
  untilAccepted,
  untilCurrent,
} from '../support/running-node.js';
import { SeededRandom } from '../support/seeded-random.js';
import { type FeedEnvironment, SignedFeedServer } from '../support/signed-feed-server.js';

/**
 * Revisions with a valid signature and hostile content, through the bus into a real node: the process lives, every answer is what it was, and a good
 * revision comes into force right after (I9, I10, G6).
 */
const COUNT = process.env.GUIDON_DEEP === '1' ? 50_000 : 10_000;
/** Fewer than one environment's messages may wait. */
const BATCH = 40;
const LANES = 4;
const seed = Number(process.env.GUIDON_POISON_SEED ?? Date.now() % 1_000_000);

const BASE = [
  aFlag('steady', { fallthrough: { variation: 'yes' } }),
  aFlag('ruled', {
    rules: [{ id: 'members', when: { segment: ['members'] }, serve: { variation: 'yes' } }],
    prerequisites: [{ flag: 'steady', variations: ['yes'] }],
  }),
  aFlag('split', {
    fallthrough: {
      rollout: {
        weights: [
          { variation: 'yes', weight: 50_000 },
          { variation: 'no', weight: 50_000 },
        ],
      },
    },
  }),
  aSegment('members'),
  aChunk('members', 'included', ['u-1', 'u-3']),
];
const BASE_BYTES = BASE.map(
  (definition): RawDefinition => [definition.kind, definitionKey(definition), encodeDefinition(definition)],
);

let feed: SignedFeedServer;
let node: RunningNode;

beforeAll(async () => {
  feed = new SignedFeedServer();
  feed.bus = new InProcessChangeBus();
  await feed.start();
  node = await startNode(feed, { logger: pino({ level: 'silent' }) });
});
afterAll(async () => {
  await node.stop();
  await feed.stop();
  await removeTemporaryDirectories();
});

/** One environment that is sent one hostile revision after the other. */
class Lane {
  readonly #environment: FeedEnvironment;
  readonly #random: SeededRandom;
  #key = '';
  #revision = 1;
  #expected = '';
  readonly #digest: string;
  sentCount = 0;

  constructor(index: number) {
    this.#environment = feed.addEnvironment(`lane-${index}`);
    this.#random = new SeededRandom(seed * LANES + index);
    this.#digest = digestOf(BASE_BYTES);
  }

  async start(): Promise<void> {
    await this.#environment.publish(BASE);
    this.#key = await this.#environment.issueCredential('srv');
    await untilCurrent(node, this.#environment);
    await untilAccepted(node, this.#key);
    this.#expected = await this.#answers();
    expect(this.#expected).toContain('"yes"');
  }

  async run(count: number): Promise<void> {
    const { ref } = this.#environment;
    while (this.sentCount < count) {
      const base = this.#revision;
      const names: string[] = [];
      for (let index = 0; index < BATCH; index += 1) {
        const { name, definitions } = poison(this.#random, this.sentCount);
        names.push(name);
        await this.#publish(definitions, this.#random.next() < 0.15 ? base : 0);
        this.sentCount += 1;
      }
      expect(await this.#answers(), `seed ${seed}, ${names.join(', ')}`).toBe(this.#expected);
      // Takes its turn behind them: when it serves, each of them has been dealt with.
      await this.#publish([], 0);
      const revision = this.#revision;
      await until(
        `${revision} after ${names.join(', ')}`,
        () => node.server.revisionOf(ref.environmentId) === revision,
      );
      expect(await this.#answers(), `seed ${seed}, after ${names.join(', ')}`).toBe(this.#expected);
    }
  }

  #publish(definitions: readonly RawDefinition[], previousRevision: number): Promise<void> {
    this.#revision += 1;
    const { ref } = this.#environment;
    const revision = this.#revision;
    const digest = definitions.length === 0 ? this.#digest : digestOf([...BASE_BYTES, ...definitions]);
    const changed = previousRevision === 0 ? [...BASE_BYTES, ...definitions] : definitions;
    const message = encodeConfigMessage({
      signed: this.#environment.sign({ revision, digest }),
      previousRevision,
      delta: { changed: changed.map(([, , bytes]) => bytes), removed: [] },
    });
    const id = messageIdOf('config', { ...ref, epoch: 1, to: revision });
    return feed.bus?.publish(subjectOf('config', ref), message, id) ?? Promise.reject(new Error('no bus'));
  }

  /** Of the good flags alone, without the revision. */
  async #answers(): Promise<string> {
    const contexts = [0, 1, 2, 3].map((index) => ({ targetingKey: `u-${index}`, email: 'aaaaaaaaaaaaaaaa' }));
    const body = { contexts, flags: ['steady', 'ruled', 'split'] };
    const answer = await sendJson(`${node.server.url}/v1/evaluate/batch`, { key: this.#key, body });
    return `${answer.status} ${JSON.stringify(answer.body.results)}`;
  }
}

function digestOf(definitions: readonly RawDefinition[]): string {
  const tree = new DigestTree();
  for (const [kind, key, bytes] of definitions) tree.set(kind, key, hashDefinition(bytes));
  return tree.digest();
}

async function outcomes(): Promise<ReadonlyMap<string, number>> {
  const page = await (await fetch(`${node.server.metricsUrl}/metrics`)).text();
  const samples = [...page.matchAll(/^guidon_snapshot_outcomes_total\{outcome="(\w+)"\} (\d+)$/gm)];
  return new Map(samples.map(([, outcome = '', count]) => [outcome, Number(count)]));
}

test(
  `${COUNT} hostile revisions (seed ${seed}): the process lives, no answer changes, the last good one serves`,
  async () => {
    const lanes = Array.from({ length: LANES }, (_, index) => new Lane(index));
    for (const lane of lanes) await lane.start();
    const before = await outcomes();
    const startedMs = performance.now();
    await Promise.all(lanes.map((lane) => lane.run(COUNT / LANES)));
    const after = await outcomes();
    const rose = (outcome: string) => (after.get(outcome) ?? 0) - (before.get(outcome) ?? 0);
    console.log(
      `${COUNT} in ${((performance.now() - startedMs) / 1_000).toFixed(1)} s: ${rose('quarantined')} quarantined, ${rose('activated')} activated, ${rose('failed')} failed, ${rose('refused')} refused`,
    );
    // They were tried, not lost on the way.
    expect(rose('quarantined')).toBeGreaterThan(COUNT / 3);
    expect((await fetch(`${node.server.metricsUrl}/readyz`)).status).toBe(200);
  },
  COUNT * 12 + 60_000,
);
