import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Answer } from '../support/control-plane.js';
import { type Operation, operationsOf } from './admin-operations.js';
import { type PlantedTenant, SAME, TwoTenants } from './two-tenants.js';

/** I16 by chance: mixed-up requests of A over every operation, most of them naming things of B. Nothing of B may come back, ever. */
const IS_DEEP = process.env.GUIDON_DEEP === '1';
const PROBES = IS_DEEP ? 100_000 : 2_000;
const AT_ONCE = 8;
const SEED = Number(process.env.GUIDON_SEED ?? Date.now() % 1_000_000);

let installation: TwoTenants;
let operations: Operation[];

beforeAll(async () => {
  installation = await TwoTenants.start();
  const { body } = await installation.plane.must('GET', '/openapi.json');
  operations = operationsOf(body.paths);
});
afterAll(() => installation.plane.dispose());

/** Numbers that the seed and a place decide, so that a probe can be made again alone. */
class Dice {
  readonly #prefix: string;
  #count = 0;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  below(bound: number): number {
    this.#count += 1;
    return createHash('sha256').update(`${this.#prefix}/${this.#count}`).digest().readUInt32LE(0) % bound;
  }

  oneOf<Item>(items: readonly [Item, ...Item[]]): Item {
    return items[this.below(items.length)] ?? items[0];
  }
}

/** What a path parameter is filled with: mostly things of B, else of A, of nobody, or of another kind. */
function fillingOf(name: string, dice: Dice): string {
  const { a, b } = installation;
  const ofTenant = (tenant: PlantedTenant): string =>
    ({
      ...SAME,
      part: '1',
      revision: dice.oneOf(['1', '3', '99']),
      tenantId: tenant.tenantId,
      environmentId: tenant.environmentId,
      credentialId: dice.oneOf([tenant.credentialId, tenant.adminCredentialId, tenant.personalTokenId]),
      uploadId: tenant.uploadId,
      personId: tenant.personId,
      invitationId: tenant.invitationId,
    })[name] ?? `no-${name}`;
  const elsewhere = dice.oneOf([b.tenantId, b.environmentId, b.canary, 'prod', '..', '%2e%2e', '$', 'shop%2f..']);
  return dice.oneOf([ofTenant(b), ofTenant(b), ofTenant(b), ofTenant(a), ofTenant(a), elsewhere]);
}

function bodyOf({ sent, method }: Operation, dice: Dice): { body?: unknown; raw?: string } {
  const { b } = installation;
  if (sent.raw !== undefined) return { raw: sent.raw };
  if (method === 'GET') return {};
  const own = sent.body ?? {};
  // No secret of B goes into a body: whatever A makes must not be full of what is looked for.
  const foreign = [
    { ...Object(own), tenantId: b.tenantId },
    { ...Object(own), flag: 'gate', segment: 'beta', revision: 3 },
  ];
  return dice.below(4) === 0 ? { body: foreign[dice.below(foreign.length)] } : { body: own };
}

async function probe(index: number): Promise<{ readonly what: string; readonly answer: Answer }> {
  const { a, b, plane } = installation;
  const dice = new Dice(`${SEED}/${index}`);
  const operation = operations[dice.below(operations.length)];
  if (operation === undefined) throw new Error('there are operations');
  const path = operation.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => fillingOf(name, dice));
  const own = operation.sent.query;
  const query = dice.oneOf([
    own,
    own,
    `limit=100&${own ?? ''}`,
    `actor=${b.credentialId}`,
    'cursor=InpoIg',
    `confirm=${b.canary}`,
  ]);
  const credentials: [string | null, ...(string | null)[]] = [a.admin, a.admin, a.admin, a.srv, a.web, null];
  const token = dice.oneOf(credentials);
  const headers: Record<string, string> = {
    ...(operation.sent.contentType === undefined ? {} : { 'content-type': operation.sent.contentType }),
    ...(dice.below(3) === 0 ? {} : { 'if-match': dice.oneOf(['"1"', '"2"', '"3"', '*']) }),
    ...(dice.below(5) === 0 ? { 'x-api-key': a.srv } : {}),
    ...(dice.below(5) === 0 ? { 'x-tenant-id': b.tenantId, 'x-forwarded-host': b.tenantId } : {}),
    ...(operation.method === 'POST' && dice.below(3) === 0 ? { 'idempotency-key': `k${dice.below(20)}` } : {}),
  };
  const url = query === undefined ? path : `${path}?${query}`;
  const answer = await plane.call(operation.method, url, { token, headers, ...bodyOf(operation, dice) });
  const who = token === a.admin ? 'admin' : token === null ? 'nobody' : 'sdk';
  return { what: `seed ${SEED}, probe ${index}: ${operation.operationId} ${url} as ${who}`, answer };
}

/** What is B's in the answer, but for what A has put into the URL itself. */
function foreignBytes({ headers, text }: Answer, url: string): string[] {
  const { b } = installation;
  const everything = `${JSON.stringify(headers)} ${text}`;
  const ids = [b.canary, b.environmentId, b.credentialId, b.adminCredentialId, b.uploadId, b.personId];
  return [...ids, b.personalTokenId, b.invitationId, b.srv, b.web, b.admin].filter(
    (secret) => everything.includes(secret) && !url.includes(secret),
  );
}

describe(`${PROBES} probes across tenants (I16)`, () => {
  test(
    'bring back 0 bytes of another tenant, and change nothing of it',
    async () => {
      const { b, plane } = installation;
      const stateOfB = async (): Promise<string> => {
        const tenant = `/api/v1/tenants/${b.tenantId}`;
        const paths = [tenant, `${tenant}/audit?limit=100`, `${b.environment}/flags/gate/targeting`, `${tenant}/usage`];
        const answers = await Promise.all(paths.map((path) => plane.must('GET', path)));
        // What is asked about B is counted for a second; everything else of it stands still.
        return answers.map(({ text }) => text.replace(/"adminRequestsPerSecond":\{[^}]*\}/, '')).join('\n');
      };
      const before = await stateOfB();
      const statuses = new Map<number, number>();
      for (let from = 0; from < PROBES; from += AT_ONCE) {
        const indexes = Array.from({ length: Math.min(AT_ONCE, PROBES - from) }, (_, index) => from + index);
        for (const { what, answer } of await Promise.all(indexes.map(probe))) {
          expect([what, foreignBytes(answer, what)]).toEqual([what, []]);
          expect([what, answer.status >= 500]).toEqual([what, false]);
          statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
        }
      }
      expect(await stateOfB()).toBe(before);
      // They reach everything: guards, rules and what is A's own.
      for (const status of [200, 401, 403, 404, 422])
        expect([status, (statuses.get(status) ?? 0) > 0]).toEqual([status, true]);
    },
    IS_DEEP ? 3_600_000 : 120_000,
  );
});
