import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeConfigMessage, decodeSigned, encodeConfigMessage, encodeSigned } from '@guidon/protocol/msgpack';
import { generateCredential, generateSigningKey, type Signed } from '@guidon/protocol/signed-config';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { aFlag } from '../support/flag-sets.js';
import { sendJson } from '../support/http.js';
import {
  metricOf,
  type RunningNode,
  removeTemporaryDirectories,
  startNode,
  temporaryDirectory,
  until,
  untilAccepted,
  untilCurrent,
} from '../support/running-node.js';
import { type FeedEnvironment, SignedFeedServer } from '../support/signed-feed-server.js';

/** What a node feeds others with, and that an edge believes of its upstream nothing that is not signed (I7, I9, I13, ADR 34). */
let feed: SignedFeedServer;
let folder = '';
let count = 0;
const running: RunningNode[] = [];

async function start(options: Parameters<typeof startNode>[1]): Promise<RunningNode> {
  const node = await startNode(feed, options);
  running.push(node);
  return node;
}

async function stopAll(): Promise<void> {
  for (const node of running.splice(0).reverse()) await node.stop();
}

/** A file with one new credential, and the credential. */
function credentialFile(name: string): { file: string; token: string } {
  const { token } = generateCredential('node');
  const file = join(folder, name);
  writeFileSync(file, `# who is fed\n${token}\n`);
  return { file, token };
}

beforeAll(async () => {
  folder = await temporaryDirectory();
  feed = await new SignedFeedServer().start();
});
afterAll(async () => {
  await stopAll();
  await feed.stop();
  await removeTemporaryDirectories();
});

const saysYes = aFlag('flag', { fallthrough: { variation: 'yes' } });
const evaluate = async (node: RunningNode, key: string) =>
  (await sendJson(`${node.server.url}/v1/evaluate`, { key, body: { flags: 'flag', context: {} } })).body;

async function newEnvironment(): Promise<{ environment: FeedEnvironment; key: string }> {
  count += 1;
  const environment = feed.addEnvironment(`f${count}`);
  await environment.publish([aFlag('flag'), ...Array.from({ length: 20 }, (_, index) => aFlag(`more-${index}`))]);
  return { environment, key: await environment.issueCredential('srv') };
}

describe('a node that feeds others', () => {
  afterAll(stopAll);

  const credential = { file: '', token: '' };
  let node: RunningNode;
  let environment: FeedEnvironment;
  let key: string;

  beforeAll(async () => {
    Object.assign(credential, credentialFile('downstream'));
    ({ environment, key } = await newEnvironment());
    node = await start({ downstreamCredentialFile: credential.file });
    await untilCurrent(node, environment);
    await untilAccepted(node, key);
  });

  const get = (path: string, token = credential.token) =>
    fetch(`${node.server.url}/internal/v1/${path}`, { headers: { authorization: `Bearer ${token}` } });
  const bytes = async (path: string) => new Uint8Array(await (await get(path)).arrayBuffer());
  const root = async () => Object(await (await get('digests')).json()).root;

  it('gives documents and definitions as it was given them, never signed anew', async () => {
    const message = decodeConfigMessage(await bytes(`environments/${environment.ref.environmentId}/config`));
    expect(message.signed).toEqual(asBytes(environment.signed()));
    expect(message.previousRevision).toBe(0);
    const theirs = environment.message(0).delta?.changed.map((one) => Buffer.from(one).toString()) ?? [];
    expect(message.delta?.changed.map((one) => Buffer.from(one).toString()).sort()).toEqual(theirs.sort());
    const { signed, extra } = decodeSigned(await bytes('key-set'));
    expect(extra.get('rootPublicKey')).toBe(feed.root.publicKey);
    expect(Buffer.from(signed.document).toString()).toContain(feed.signingKey.keyId);
    const access = decodeSigned(await bytes(`environments/${environment.ref.environmentId}/access`)).signed;
    expect(JSON.parse(Buffer.from(access.document).toString())).toMatchObject({ ...environment.ref, sequence: 1 });
  });

  it('gives what changed alone to who is one behind', async () => {
    const from = environment.revision;
    await environment.publish([saysYes]);
    await untilCurrent(node, environment);
    const message = decodeConfigMessage(
      await bytes(`environments/${environment.ref.environmentId}/config?since=${from}`),
    );
    expect([message.previousRevision, message.delta?.changed.length, message.delta?.removed]).toEqual([from, 1, []]);
  });

  it('answers who waits for a change when there is one, and at once who is behind', async () => {
    const before = await root();
    expect(await (await get('changes?after=')).json()).toEqual({ root: before });
    const waiting = get(`changes?after=${before}`).then((answer) => answer.json());
    await environment.publish([aFlag('flag')]);
    expect(Object(await waiting).root).not.toBe(before);
    expect(await (await get(`changes?after=${before}`)).json()).toEqual({ root: await root() });
  });

  it('answers 304 to the root it has, else the buckets, and states of buckets', async () => {
    const theirRoot = await root();
    const same = await fetch(`${node.server.url}/internal/v1/digests`, {
      headers: {
        'x-guidon-node': 'n-1',
        authorization: `Bearer ${credential.token}`,
        'if-none-match': `"${theirRoot}"`,
      },
    });
    expect([same.status, same.headers.get('etag')]).toEqual([304, `"${theirRoot}"`]);
    const all = Array.from({ length: 256 }, (_, bucket) => bucket.toString(16).padStart(2, '0')).join();
    const { environments } = Object(await (await get(`digests?buckets=${all}`)).json());
    expect(environments).toContainEqual({
      ...environment.ref,
      epoch: 1,
      revision: environment.revision,
      accessSequence: 1,
    });
  });

  it.each([
    ['no credential', ''],
    ['an unknown one', generateCredential('node').token],
    ['no credential at all', 'gdn_node_x'],
  ])('refuses %s', async (_, token) => {
    for (const path of ['key-set', 'digests', 'changes', 'environments/env-f1/config', 'environments/env-f1/access']) {
      const answer = await get(path, token);
      expect([answer.status, Object(await answer.json()).code]).toEqual([401, 'invalid-credentials']);
    }
  });

  it('refuses keys of environments, and its own credential', async () => {
    for (const token of [key, feed.nodeCredential]) expect((await get('digests', token)).status).toBe(401);
  });

  it('is open to nobody without a file', async () => {
    const closed = await start({});
    await untilCurrent(closed, environment);
    const answer = await fetch(`${closed.server.url}/internal/v1/digests`, {
      headers: { authorization: `Bearer ${credential.token}` },
    });
    expect(answer.status).toBe(404);
  });

  it.each([
    ['environments/env-none/config', 404, 'not-found'],
    ['environments/env-none/access', 404, 'not-found'],
    ['environments/env-f1/config?since=-1', 422, 'validation-failed'],
    ['environments/env-f1/config?other=1', 400, 'unknown-parameter'],
    ['digests?buckets=zz', 422, 'validation-failed'],
  ])('refuses %s', async (path, status, code) => {
    const answer = await get(path);
    expect([answer.status, Object(await answer.json()).code]).toEqual([status, code]);
  });

  it('takes the file as it is now: a credential that is taken out is refused', async () => {
    const other = generateCredential('node').token;
    writeFileSync(credential.file, `${other}\nno credential\n`);
    await until('the old one is refused', async () => (await get('digests')).status === 401);
    expect((await get('digests', other)).status).toBe(200);
    rmSync(credential.file);
    await until('nobody is fed', async () => (await get('digests', other)).status === 401);
    writeFileSync(credential.file, credential.token);
    await until('it is fed again', async () => (await get('digests')).status === 200);
  });

  it('does not start on a file with anything else in it', async () => {
    const file = join(folder, 'bad');
    const tooMany = Array.from({ length: 1_001 }, () => generateCredential('node').token).join('\n');
    for (const text of ['', '# nobody\n', `${credential.token}\ngdn_srv_x\n`, tooMany, '#'.repeat(300_000)]) {
      writeFileSync(file, text);
      await expect(startNode(feed, { downstreamCredentialFile: file })).rejects.toThrow(
        /must hold node credentials|too long/,
      );
    }
  });

  it('says that it is not ready rather than that there is nothing (I13)', async () => {
    feed.holds = true;
    const file = credentialFile('early');
    const early = await start({ downstreamCredentialFile: file.file });
    const answer = await fetch(`${early.server.url}/internal/v1/digests`, {
      headers: { authorization: `Bearer ${file.token}` },
    });
    expect([answer.status, Object(await answer.json()).code]).toEqual([503, 'not-ready']);
    feed.holds = false;
  });
});

describe('an edge behind an upstream that lies', () => {
  afterAll(stopAll);

  let edge: RunningNode;
  let directory: string;
  let environment: FeedEnvironment;
  let key: string;

  beforeAll(async () => {
    directory = await temporaryDirectory();
    edge = await start({ isEdge: true, directory });
  });
  beforeEach(async () => {
    ({ environment, key } = await newEnvironment());
    await untilCurrent(edge, environment);
    await untilAccepted(edge, key);
  });

  /** What the digests say, whatever the environment is at. */
  const claim = (revision: number, accessSequence = 1) =>
    feed.digests.set({ ...environment.ref, epoch: 1, revision, accessSequence });
  const answerWith = (signed: Signed) => {
    environment.configOverride = () => encodeConfigMessage(environment.message(0, signed));
  };
  async function settle(): Promise<void> {
    const polls = await metricOf(edge, 'guidon_polls_total');
    await until('three more polls', async () => (await metricOf(edge, 'guidon_polls_total')) >= polls + 3);
  }

  it.each([
    ['signed by a key that nobody introduced', () => environment.sign({ revision: 2 }, generateSigningKey())],
    [
      'signed for another environment',
      () => environment.sign({ revision: 2, environmentId: feed.addEnvironment('x').ref.environmentId }),
    ],
    ['with a revision far ahead (fast-forward)', () => environment.sign({ revision: 2 ** 52 })],
    ['of an epoch far ahead', () => environment.sign({ epoch: 5_000 })],
    ['that has expired', () => environment.sign({ revision: 2, expiresAt: Date.now() - 1 })],
    ['with another digest', () => environment.sign({ revision: 2, digest: 'ab'.repeat(32) })],
    ['with a changed byte', () => ({ ...environment.sign({ revision: 2 }), signature: Buffer.alloc(64, 1) })],
  ])('refuses a manifest %s', async (_, signed) => {
    answerWith(signed());
    claim(2);
    await settle();
    expect(await evaluate(edge, key)).toMatchObject({ revision: 1, value: 'no' });
    environment.configOverride = undefined;
    await environment.publish([saysYes]);
    await untilCurrent(edge, environment);
  });

  it('refuses a change of definitions under a right manifest', async () => {
    await environment.publish([aFlag('other')]);
    const { signed } = environment.message(0);
    claim(1);
    environment.configOverride = () =>
      encodeConfigMessage({ signed, previousRevision: 0, delta: { changed: [], removed: [] } });
    claim(2);
    await settle();
    expect(await evaluate(edge, key)).toMatchObject({ revision: 1, value: 'no' });
  });

  it('takes nothing old that was right once, also after a restart (I7)', async () => {
    const [config, access] = [encodeConfigMessage(environment.message(0)), encodeSigned(environment.signedAccess())];
    await environment.publish([saysYes]);
    await untilCurrent(edge, environment);
    await environment.revoke(key);
    await until('it is revoked', async () => (await sendStatus()) === 401);
    environment.configOverride = () => config;
    environment.accessOverride = access;
    claim(1);
    await settle();
    await edge.stop();
    edge = await start({ isEdge: true, directory });
    await settle();
    expect(await sendStatus()).toBe(401);
    expect(edge.server.revisionOf(environment.ref.environmentId)).toBe(2);
  });

  const sendStatus = async () =>
    (await sendJson(`${edge.server.url}/v1/evaluate`, { key, body: { flags: 'flag', context: {} } })).status;

  it('does not believe that an environment is gone while somebody may use it, and lets it go when nobody may', async () => {
    const { environmentId } = environment.ref;
    const other = await newEnvironment();
    await untilCurrent(edge, other.environment);
    feed.digests.delete(environmentId);
    await settle();
    await settle();
    expect(await evaluate(edge, key)).toMatchObject({ revision: 1, value: 'no' });
    environment.announce();
    await environment.revoke(key);
    await until('it is revoked', async () => (await sendStatus()) === 401);
    feed.digests.delete(environmentId);
    await until('it is gone', () => edge.server.revisionOf(environmentId) === undefined);
  });
});

describe('an edge behind a node', () => {
  it('follows within its own pace, is fed without the control plane and feeds the next one', async () => {
    const [first, second] = [credentialFile('first'), credentialFile('second')];
    const { environment, key } = await newEnvironment();
    const slow = { pollIntervalMs: 60_000 };
    const node = await start({ downstreamCredentialFile: first.file });
    await untilCurrent(node, environment);
    const edge = await start({
      isEdge: true,
      controlPlaneUrl: node.server.url,
      nodeCredential: first.token,
      downstreamCredentialFile: second.file,
      ...slow,
    });
    await untilCurrent(edge, environment);
    const next = await start({
      isEdge: true,
      controlPlaneUrl: edge.server.url,
      nodeCredential: second.token,
      ...slow,
    });
    await untilAccepted(next, key);
    await untilCurrent(next, environment);
    // By what the upstream says alone: the polls of both are a minute apart.
    await environment.publish([saysYes]);
    await untilCurrent(next, environment);
    expect(await evaluate(next, key)).toMatchObject({ revision: 2, value: 'yes' });
    await environment.revoke(key);
    await until('it is refused at the end of the chain', async () => {
      const answer = await sendJson(`${next.server.url}/v1/evaluate`, { key, body: { flags: 'flag', context: {} } });
      return answer.status === 401;
    });
    expect(feed.requests.some((path) => path.includes('changes'))).toBe(true); // of the edges that ask the feed itself
    expect(await metricOf(edge, 'guidon_polls_total')).toBeLessThan(20);
  });
});

function asBytes({ document, signature }: Signed): Signed {
  return { document: Uint8Array.from(document), signature: Uint8Array.from(signature) };
}
