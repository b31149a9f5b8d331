import { readdirSync, readFileSync } from 'node:fs';
import { InProcessChangeBus } from '@guidon/protocol';
import { Packr } from 'msgpackr';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { jsonTextOf } from '../support/json-text.js';
import { NodeClock } from '../support/node-clock.js';
import {
  type RunningNode,
  removeTemporaryDirectories,
  startNode,
  untilAccepted,
  untilCurrent,
} from '../support/running-node.js';
import { SignedFeedServer } from '../support/signed-feed-server.js';
import { type VectorCase, type VectorFile, withNumbers } from '../support/vectors.js';

/** The shared vectors over `POST /v1/evaluate`, in both formats. */
const folder = new URL('../vectors/', import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
let clock: NodeClock;
let feed: SignedFeedServer;
let node: RunningNode;

beforeAll(async () => {
  clock = new NodeClock();
  feed = new SignedFeedServer();
  feed.bus = new InProcessChangeBus();
  await feed.start();
  node = await startNode(feed);
});

afterAll(async () => {
  clock.restore();
  await node.stop();
  await feed.stop();
  await removeTemporaryDirectories();
});

/** Of requests that are under way at a time. */
const WIDTH = 16;
/** Reads a member `__proto__` under another name, of what is expected as well. */
const msgpack = new Packr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' });

interface Format {
  readonly mediaType: string;
  /** Undefined: the format cannot say it. */
  readonly encode: (value: unknown) => string | Uint8Array<ArrayBuffer> | undefined;
  readonly decode: (bytes: Buffer) => Record<string, unknown>;
}

const formats: readonly Format[] = [
  {
    mediaType: 'application/json',
    encode: jsonTextOf,
    decode: (bytes) => JSON.parse(bytes.toString('utf8')),
  },
  {
    mediaType: 'application/msgpack',
    // Its strings are UTF-8.
    encode: (value) => (JSON.stringify(value).includes('\\ud') ? undefined : Uint8Array.from(msgpack.encode(value))),
    decode: (bytes) => msgpack.decode(bytes),
  },
];

describe.each(formats)('the shared vectors in $mediaType', ({ mediaType, encode, decode }) => {
  it.each(files)('%s', async (name) => {
    const { flags, segments, segmentKeys, cases }: VectorFile = JSON.parse(readFileSync(new URL(name, folder), 'utf8'));
    const own = feed.addEnvironment(`${mediaType.replace('/', '-')}-${name.replace('.json', '')}`);
    const tokens = { srv: await own.issueCredential('srv'), web: await own.issueCredential('web') };
    await own.publish([...flags, ...segments, ...segmentKeys]);
    await untilCurrent(node, own);
    await untilAccepted(node, tokens.web);
    const prove = async ({ name: title, flag, context, expected, clientSideOnly = false }: VectorCase) => {
      const body = encode({ flags: flag, context: withNumbers(context) });
      if (body === undefined) return;
      const authorization = `Bearer ${clientSideOnly ? tokens.web : tokens.srv}`;
      const headers = { authorization, 'content-type': mediaType, accept: mediaType };
      const response = await fetch(`${node.server.url}/v1/evaluate`, { method: 'POST', headers, body });
      const answer = decode(Buffer.from(await response.arrayBuffer()));
      const isRefused = response.status === 422 && answer.code === 'limit-exceeded';
      // A context over a limit is no context: the request is refused before anything is evaluated.
      const shown = isRefused ? { revision: 1, flag, reason: 'ERROR', errorCode: 'INVALID_CONTEXT' } : answer;
      const wanted = encode({ revision: 1, ...expected }) ?? '';
      expect(shown, `${name}: ${title}`).toEqual(decode(Buffer.from(wanted)));
    };
    for (const now of new Set(cases.map((vector) => vector.now ?? 0))) {
      const waiting = cases.filter((vector) => (vector.now ?? 0) === now).values();
      const work = async () => {
        for (const vector of waiting) await prove(vector);
      };
      await clock.during(now, () => Promise.all(Array.from({ length: WIDTH }, work)));
    }
  });
});
