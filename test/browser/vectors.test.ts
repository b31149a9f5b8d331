import { readdirSync, readFileSync } from 'node:fs';
import type { FlagDetails } from '@guidon/browser-sdk';
import type { FlagDefinition } from '@guidon/engine';
import { LIMITS } from '@guidon/protocol';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Chromium, openPage } from '../support/chromium.js';
import { NodeClock } from '../support/node-clock.js';
import { PageServer } from '../support/page-server.js';
import {
  type RunningNode,
  removeTemporaryDirectories,
  startNode,
  untilAccepted,
  untilCurrent,
} from '../support/running-node.js';
import { SignedFeedServer } from '../support/signed-feed-server.js';
import { type VectorCase, type VectorFile, withNumbers } from '../support/vectors.js';

/** The shared vectors through a browser SDK in a real page. */
let clock: NodeClock;
let feed: SignedFeedServer;
let node: RunningNode;
let chromium: Chromium;
let pages: PageServer;
let page: Page;

const folder = new URL('../vectors/', import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith('.json'));

beforeAll(async () => {
  clock = new NodeClock();
  feed = new SignedFeedServer();
  await feed.start();
  [node, chromium, pages] = await Promise.all([startNode(feed), Chromium.start(), PageServer.start()]);
  ({ page } = await openPage(await chromium.profile(), await pages.addApp('/', 'browser/pages/vectors.ts')));
}, 60_000);

afterAll(async () => {
  clock?.restore();
  await chromium?.close();
  await pages?.close();
  await node?.stop();
  await feed?.stop();
  await removeTemporaryDirectories();
});

interface Asked extends VectorCase {
  readonly contextText: string;
}

it.each(files)('%s', async (name) => {
  const file: VectorFile = JSON.parse(readFileSync(new URL(name, folder), 'utf8'));
  // A page asks all flags at once, for which fuel is too short.
  if (name === 'fuel.json') return;
  const cases = file.cases.flatMap((vector): Asked[] => {
    const context = withNumbers(vector.context);
    const contextText = JSON.stringify(context);
    // What a page cannot say is not asked there.
    const isSayable = contextText !== undefined && context !== null && isSame(JSON.parse(contextText), context);
    if (isOverLimits(context)) return [];
    return isSayable ? [{ ...vector, contextText }] : [];
  });
  const isForPages = ({ clientSideOnly = false }: VectorCase) => clientSideOnly;
  // What is evaluated for everybody is evaluated for a page when every flag is for pages.
  const opened = file.flags.map((flag): FlagDefinition => ({ ...flag, clientSide: true }));
  await prove(`${name}-pages`, { ...file, cases: [] }, cases.filter(isForPages));
  await prove(
    `${name}-all`,
    { ...file, flags: opened, cases: [] },
    cases.filter((vector) => !isForPages(vector)),
  );
});

async function prove(name: string, file: VectorFile, cases: readonly Asked[]): Promise<void> {
  if (cases.length === 0) return;
  const environment = feed.addEnvironment(name.replace('.json', ''));
  const key = await environment.issueCredential('web', { allowedOrigins: [pages.origin] });
  await environment.publish([...file.flags, ...file.segments, ...file.segmentKeys]);
  await untilCurrent(node, environment);
  await untilAccepted(node, key);
  const isShown = new Map(file.flags.map(({ key: flagKey, clientSide }) => [flagKey, clientSide]));
  for (const now of new Set(cases.map((vector) => vector.now ?? 0))) {
    const groups = groupsOf(cases.filter((vector) => (vector.now ?? 0) === now));
    const answers = await clock.during(now, () => ask(key, groups));
    for (const [index, group] of groups.entries()) {
      for (const { name: title, flag, expected } of group) {
        const details = answers[index]?.[flag];
        expect(resultOf(flag, details), `${name}: ${title}`).toEqual(shown(expected, isShown));
      }
    }
  }
}

/** Those of one context together. */
function groupsOf(cases: readonly Asked[]): (readonly Asked[])[] {
  const byContext = new Map<string, Asked[]>();
  for (const vector of cases) {
    byContext.set(vector.contextText, [...(byContext.get(vector.contextText) ?? []), vector]);
  }
  return [...byContext.values()];
}

async function ask(key: string, groups: readonly (readonly Asked[])[]): Promise<Record<string, FlagDetails>[]> {
  const contexts = groups.map((group) => ({
    contextText: group[0]?.contextText ?? '{}',
    flagKeys: group.map(({ flag }) => flag),
  }));
  const asked = [node.server.url, key, contexts] as const;
  return JSON.parse(await page.evaluate(([url, token, wanted]) => window.ask(url, token, wanted), asked));
}

/** What a page learns of it: nothing of a flag that is not for pages, and no name of a prerequisite that does not exist. */
function shown(expected: VectorCase['expected'], isShown: ReadonlyMap<string, boolean>): object {
  if (isShown.get(expected.flag) !== true) {
    return { flag: expected.flag, reason: 'ERROR', errorCode: 'FLAG_NOT_FOUND' };
  }
  if (!('prerequisite' in expected) || expected.prerequisite === undefined || isShown.has(expected.prerequisite)) {
    return expected;
  }
  const { prerequisite: _, ...rest } = expected;
  return rest;
}

function resultOf(flag: string, details: FlagDetails | undefined): object {
  if (details === undefined) return {};
  const { revision: _, flagMetadata: __, value, ...rest } = details;
  return { flag, ...rest, ...(details.errorCode === undefined ? { value } : {}) };
}

/** A request about such a context alone is refused: the page has no values at all. */
function isOverLimits(context: unknown): boolean {
  let attributeCount = 0;
  const depthOf = (value: unknown): number => {
    if (typeof value !== 'object' || value === null) return 0;
    if (!Array.isArray(value)) attributeCount += Object.keys(value).length;
    return 1 + Math.max(0, ...Object.values(value).map(depthOf));
  };
  return depthOf(context) > LIMITS.contextDepth || attributeCount > LIMITS.contextAttributes;
}

/** As JSON has it: -0 is 0 there. */
function isSame(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  const [left, right] = [Object.entries(a), Object.entries(b)];
  return left.length === right.length && left.every(([name, value]) => isSame(value, Reflect.get(b, name)));
}
