import { createHash } from 'node:crypto';
import { parseManifest } from '@guidon/protocol/signed-config';
import type { Seed, TestControlPlane } from './control-plane.js';

export interface ShownItem {
  readonly sequence: number;
  readonly type: string;
  readonly subject: string;
  readonly data: unknown;
}

/** What a receiver keeps: the newest of each subject. It looks at nothing but what the feed gave. */
export class FeedCopy {
  readonly #things = new Map<string, unknown>();
  next = 0;
  itemCount = 0;

  /** Takes rows of a page or stream; throws when one was here before or one is missing between them. */
  apply(items: readonly ShownItem[]): void {
    for (const { sequence, subject, data } of items) {
      if (sequence !== this.next + 1) throw new Error(`${sequence} came after ${this.next}`);
      this.next = sequence;
      this.itemCount += 1;
      if (data === null) this.#things.delete(subject);
      else this.#things.set(subject, data);
    }
  }

  async readState(plane: TestControlPlane, tenant: string, token?: string): Promise<void> {
    for (let cursor = ''; ; ) {
      const options = token === undefined ? {} : { token };
      const { body } = await plane.must('GET', `${tenant}/feed/state?limit=7${cursor}`, options);
      for (const { subject, data } of body.items) this.#things.set(subject, data);
      this.next = body.sequence;
      if (body.nextCursor === null) return;
      cursor = `&cursor=${body.nextCursor}`;
    }
  }

  /** Everything up to the end that the first answer names. */
  async poll(plane: TestControlPlane, tenant: string, limit = 50): Promise<void> {
    for (;;) {
      const { body } = await plane.must('GET', `${tenant}/feed?after=${this.next}&limit=${limit}`);
      this.apply(body.items);
      if (this.next === body.end) return;
    }
  }

  get subjects(): string[] {
    return [...this.#things.keys()].sort();
  }

  get hash(): string {
    return hashOf(this.#things);
  }

  get things(): ReadonlyMap<string, unknown> {
    return this.#things;
  }
}

export function hashOf(things: ReadonlyMap<string, unknown>): string {
  const sorted = [...things].sort(([a], [b]) => (a < b ? -1 : 1)).map(([subject, data]) => [subject, inOrder(data)]);
  return createHash('sha256').update(JSON.stringify(sorted)).digest('hex');
}

/** Members in the order of their names: two documents are the same whoever wrote them. */
function inOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inOrder);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, member]) => [name, inOrder(member)]),
  );
}

/** Of the admin API: what is looked at besides the whole is text. */
type Body = Record<string, unknown> & {
  readonly key: string;
  readonly id: string;
  readonly personId: string | null;
  readonly manifest: string;
  readonly revision: number;
  readonly items: readonly Body[];
  readonly nextCursor: string | null;
};

/** The same from the admin API, resource by resource: what a copy is held against. */
export async function stateOfApi(plane: TestControlPlane, { tenant }: Seed): Promise<Map<string, unknown>> {
  const things = new Map<string, unknown>();
  const get = async (path: string): Promise<Body> => (await plane.must('GET', `${tenant}${path}`)).body;
  const all = async (path: string): Promise<Body[]> => {
    const items: Body[] = [];
    for (let cursor = ''; ; ) {
      const page = await get(`${path}${path.includes('?') ? '&' : '?'}limit=100${cursor}`);
      items.push(...page.items);
      if (page.nextCursor === null) return items;
      cursor = `&cursor=${page.nextCursor}`;
    }
  };
  const without = (body: Body, ...names: string[]): object =>
    Object.fromEntries(Object.entries(body).filter(([name]) => !names.includes(name)));
  things.set('tenant', await get(''));
  for (const role of await all('/roles')) if (role.isBuiltIn !== true) things.set(`roles/${role.key}`, role);
  for (const member of await all('/members')) {
    things.set(`members/${member.personId}`, without(member, 'name', 'email', 'isDisabled'));
  }
  for (const one of await all('/invitations')) things.set(`invitations/${one.id}`, without(one, 'email', 'invitedBy'));
  for (const one of await all('/admin-credentials')) {
    if (one.personId === null) things.set(`admin-credentials/${one.id}`, one);
  }
  for (const noun of ['webhooks', 'triggers']) {
    for (const one of await all(`/${noun}`)) things.set(`${noun}/${one.id}`, one);
  }
  for (const project of await all('/projects')) {
    const at = `projects/${project.key}`;
    things.set(at, project);
    const flags = await all(`/${at}/flags?archived=all`);
    for (const flag of flags) things.set(`${at}/flags/${flag.key}`, flag);
    for (const environment of await all(`/${at}/environments`)) {
      const place = `${at}/environments/${environment.key}`;
      things.set(place, without(environment, 'epoch', 'revision', 'accessSequence'));
      const { epoch, revision } = environment;
      const { manifest } = await get(`/${place}/revisions/${revision}`);
      const { digest } = parseManifest(Buffer.from(manifest));
      things.set(`${place}/revision`, { epoch, revision, digest });
      for (const { key } of flags) {
        const targeting = await get(`/${place}/flags/${key}/targeting`);
        things.set(`${place}/flags/${key}/targeting`, without(targeting, 'revision'));
        const health = await get(`/${place}/flags/${key}/health`);
        // Nobody ever said anything about the others.
        if (health.since !== null) things.set(`${place}/flags/${key}/health`, health);
      }
      for (const segment of await all(`/${place}/segments?archived=all`)) {
        things.set(`${place}/segments/${segment.key}`, segment);
      }
      for (const one of await all(`/${place}/credentials`)) things.set(`${place}/credentials/${one.id}`, one);
    }
  }
  return things;
}
