import { booleanFlag, type Seed, type TestControlPlane } from '../support/control-plane.js';

const KEYS = ['a', 'b', 'c', 'd', 'e'];
const ENVIRONMENTS = ['dev', 'prod'];

/** One change of any kind, drawn by `random`; one that is refused changes nothing. Resolves with the status. */
export async function changeSomething(
  plane: TestControlPlane,
  { project, tenant }: Seed,
  random: () => number,
): Promise<number> {
  const pick = <Item>(items: readonly Item[]): Item => {
    const item = items[Math.floor(random() * items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  };
  const key = pick(KEYS);
  const environment = `${project}/environments/${pick(ENVIRONMENTS)}`;
  const flag = `${project}/flags/${key}`;
  const segment = `${environment}/segments/${key}`;
  /** With the version of now, as somebody who has just read it. */
  const edit = async (method: string, path: string, what: { body?: unknown; at?: string } = {}): Promise<number> => {
    const read = await plane.call('GET', path);
    const headers = { 'if-match': String(read.headers.etag ?? '"1"') };
    const { at = '', body } = what;
    return (await plane.call(method, `${path}${at}`, { headers, ...(body === undefined ? {} : { body }) })).status;
  };
  const post = async (path: string, body: unknown): Promise<number> =>
    (await plane.call('POST', path, { body })).status;
  const put = async (path: string, body: unknown): Promise<number> => (await plane.call('PUT', path, { body })).status;
  /** Makes one more of what a tenant has of it, or takes one away. */
  const oneOf = async (noun: string, body: unknown): Promise<number> => {
    const { items } = (await plane.must('GET', `${tenant}/${noun}`)).body;
    if (items.length < 3) return post(`${tenant}/${noun}`, body);
    return edit('DELETE', `${tenant}/${noun}/${pick<{ id: string }>(items).id}`);
  };
  const text = `n${Math.floor(random() * 1e6)}`;
  const changes: readonly (() => Promise<number>)[] = [
    () => post(`${project}/flags`, { ...booleanFlag(key), tags: random() < 0.5 ? ['t'] : [] }),
    () => edit('PATCH', flag, { body: { name: text } }),
    () => edit('POST', flag, { at: pick(['/archive', '/unarchive']) }),
    () => edit('DELETE', flag, { at: '?force=true' }),
    () => edit('PATCH', `${environment}/flags/${key}/targeting`, { body: { on: random() < 0.5 } }),
    () => edit('PATCH', `${environment}/flags/${key}/targeting`, { body: { on: random() < 0.5 } }),
    () => post(`${environment}/segments`, { key, name: text }),
    () => post(`${segment}/keys`, { add: [text] }),
    () => edit('PATCH', segment, { body: { description: text } }),
    () => edit('DELETE', segment, { at: '?force=true' }),
    () => edit('PATCH', environment, { body: { name: text } }),
    () => edit('PATCH', tenant, { body: { name: text } }),
    () => post(`${tenant}/roles`, role(key, text)),
    () => edit('DELETE', `${tenant}/roles/${key}`),
    () => post(`${tenant}/invitations`, { email: `${text}@example.com`, roles: ['viewer'] }),
    async () => {
      const { items } = (await plane.must('GET', `${environment}/credentials`)).body;
      if (items.length < 3) return post(`${environment}/credentials`, { kind: 'srv', name: text });
      return edit('POST', `${environment}/credentials/${pick<{ id: string }>(items).id}`, { at: '/revoke' });
    },
    () => put(`${environment}/flags/${key}/health`, { health: pick(['ok', 'unhealthy']), reason: text }),
    () => oneOf('webhooks', { name: text, url: `https://hooks.example.com/${text}`, enabled: false }),
    () => oneOf('triggers', { name: text, project: 'shop', environment: 'dev', flag: key, effect: 'turn-off' }),
  ];
  return pick(changes)();
}

const role = (key: string, name: string) => ({
  key,
  name,
  statements: [{ effect: 'allow', actions: ['*.read'], resources: ['*'] }],
});
