import { readdirSync, readFileSync } from 'node:fs';
import type { Result } from '@guidon/engine';
import { createClient, type FlagDetails, type GuidonClient, type Structure } from '@guidon/server-sdk';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  type RunningNode,
  removeTemporaryDirectories,
  startNode,
  until,
  untilAccepted,
  untilCurrent,
} from '../support/running-node.js';
import { type FeedEnvironment, SignedFeedServer } from '../support/signed-feed-server.js';
import { type VectorCase, type VectorFile, withNumbers } from '../support/vectors.js';

/** The shared vectors through the server SDK, which follows a real node: each file is one signed revision of its environment. */

const folder = new URL('../vectors/', import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith('.json'));

let feed: SignedFeedServer;
let environment: FeedEnvironment;
let node: RunningNode;
let client: GuidonClient;
let published: readonly (readonly [string, string])[] = [];

beforeAll(async () => {
  feed = await new SignedFeedServer().start();
  environment = feed.addEnvironment('vectors');
  await environment.publish([]);
  const key = await environment.issueCredential('srv');
  node = await startNode(feed);
  await untilCurrent(node, environment);
  await untilAccepted(node, key);
  client = createClient({
    url: node.server.url,
    key,
    trustRoot: feed.trustRoot,
    environmentId: environment.ref.environmentId,
  });
  await client.waitForReady({ timeoutMs: 20_000 });
});
afterEach(() => {
  vi.useRealTimers();
});
afterAll(async () => {
  await client.close();
  await node.stop();
  await feed.stop();
  await removeTemporaryDirectories();
});

function readVectors(name: string): VectorFile {
  return JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as VectorFile;
}

/** By the getter of the expected value's type. */
function askDetails({ flag, context, expected }: VectorCase): FlagDetails {
  const asked = withNumbers(context) as Record<string, never>;
  const value = expected.reason === 'ERROR' ? true : expected.value;
  if (typeof value === 'boolean') return client.booleanDetails(flag, asked, false);
  if (typeof value === 'string') return client.stringDetails(flag, asked, 'default');
  if (typeof value === 'number') return client.numberDetails(flag, asked, -1);
  return client.jsonDetails(flag, asked, { isDefault: true } as Structure);
}

function askValue({ flag, context, expected }: VectorCase): unknown {
  const asked = withNumbers(context) as Record<string, never>;
  if (expected.reason === 'ERROR') return client.boolean(flag, asked, false);
  if (typeof expected.value === 'boolean') return client.boolean(flag, asked, !expected.value);
  if (typeof expected.value === 'string') return client.string(flag, asked, `not ${expected.value}`);
  if (typeof expected.value === 'number') return client.number(flag, asked, Number.NaN);
  return client.json(flag, asked, { isDefault: true });
}

function asResult(
  flag: string,
  { value, variation, reason, errorCode, ruleId, prerequisite, inExperiment }: FlagDetails,
) {
  if (reason === 'ERROR') return { flag, reason, errorCode };
  return {
    flag,
    value,
    variation,
    reason,
    ...(ruleId === undefined ? {} : { ruleId }),
    ...(prerequisite === undefined ? {} : { prerequisite }),
    ...(inExperiment === undefined ? {} : { inExperiment }),
  };
}

describe.each(files)('%s', (name) => {
  const { flags, segments, segmentKeys, cases } = readVectors(name);

  test('gives the same answers as every other evaluator', async () => {
    const definitions = [...flags, ...segments, ...segmentKeys];
    const keyOf = (item: (typeof definitions)[number]): string =>
      item.kind === 'segment-keys' ? `${item.segment}/${item.list}/${item.prefix}/${item.contextKind}` : item.key;
    const names = definitions.map((item) => [item.kind, keyOf(item)] as const);
    const kept = new Set(names.map((pair) => pair.join(' ')));
    await environment.publish(
      definitions,
      published.filter((pair) => !kept.has(pair.join(' '))),
    );
    published = names;
    await until('the client has the revision', () => client.status().revision === environment.revision, 30_000);
    for (const vector of cases) {
      const { flag, now = 0, clientSideOnly = false, expected } = vector;
      vi.useFakeTimers({ toFake: ['Date'], now });
      const asked = withNumbers(vector.context) as Record<string, never>;
      if (clientSideOnly) {
        const { results } = client.allFlags(asked, { clientSideOnly });
        const found: Result | undefined = results.find((result) => result.flag === flag);
        // What a page may not see is not in the list at all.
        if (found === undefined) expect(expected.reason, vector.name).toBe('ERROR');
        else expect(found, vector.name).toEqual(expected);
        continue;
      }
      expect(asResult(flag, askDetails(vector)), vector.name).toEqual(expected);
      expect(askValue(vector), vector.name).toEqual(expected.reason === 'ERROR' ? false : expected.value);
    }
    vi.useRealTimers();
  });
});
