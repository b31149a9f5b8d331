import type { Actor } from '@guidon/control-plane/admin-api/actor.js';
import { FeedViewer } from '@guidon/control-plane/feed/feed-view.js';
import { parseTenantId } from '@guidon/protocol';
import { expect, test } from 'vitest';

test('a tag with a comma in it opens nothing that two tags close', () => {
  const tenantId = parseTenantId('ten_a');
  const actor: Actor = {
    kind: 'member',
    credentialId: 'adm_1',
    name: 'reader',
    tenantId,
    roles: [
      {
        key: 'reader',
        statements: [
          { effect: 'allow', actions: ['*.read'], resources: ['*'], tags: [] },
          { effect: 'deny', actions: ['flag.read'], resources: ['*'], tags: ['secret'] },
        ],
      },
    ],
  };
  const viewer = new FeedViewer(actor, tenantId);
  const sees = (tags: string[]) => viewer.sees({ action: 'flag.read', path: 'project:shop/flag:a', tags });
  expect(sees(['x,secret'])).toBe(true);
  expect(sees(['x', 'secret'])).toBe(false);
});
