import { type Filterable, isFor } from '@guidon/control-plane/webhooks/event-filter.js';
import type { WebhookPlace } from '@guidon/control-plane/webhooks/webhook-record.js';
import { expect, test } from 'vitest';

const EVENT: Filterable = {
  type: 'targeting.updated',
  projectId: 'prj_1',
  environmentId: 'env_1',
  path: 'project:shop/env:prod/flag:checkout-new',
  tags: ['beta', 'critical'],
};
const ALL = { events: [], flags: [], tags: [] };
const place = (projectId: string, environmentId?: string) => ({ projectId, environmentId }) as WebhookPlace;

test.each([
  [ALL, true],
  [{ ...ALL, events: ['targeting.updated'] }, true],
  [{ ...ALL, events: ['flag.*', 'targeting.*'] }, true],
  [{ ...ALL, events: ['*.updated'] }, true],
  [{ ...ALL, events: ['flag.*'] }, false],
  [{ ...ALL, events: ['target.*'] }, false],
  [{ ...ALL, flags: ['checkout-*'] }, true],
  [{ ...ALL, flags: ['checkout'] }, false],
  [{ ...ALL, tags: ['x', 'beta'] }, true],
  [{ ...ALL, tags: ['x'] }, false],
  [{ events: ['targeting.*'], flags: ['checkout-new'], tags: ['x'] }, false],
])('isFor(%j)', (filter, expected) => {
  expect(isFor(filter, null, EVENT)).toBe(expected);
});

test('isFor() keeps places apart; what happens to a project happens in each of its environments', () => {
  const { environmentId: _, ...ofProject } = EVENT;
  expect(isFor(ALL, place('prj_1'), EVENT)).toBe(true);
  expect(isFor(ALL, place('prj_2'), EVENT)).toBe(false);
  expect(isFor(ALL, place('prj_1', 'env_1'), EVENT)).toBe(true);
  expect(isFor(ALL, place('prj_1', 'env_2'), EVENT)).toBe(false);
  expect(isFor(ALL, place('prj_1', 'env_2'), ofProject)).toBe(true);
  expect(isFor(ALL, place('prj_1'), { type: 'role.created', path: 'role:x', tags: [] })).toBe(false);
});

test('isFor() asks of an event without a flag no flag filter can name it', () => {
  expect(isFor({ ...ALL, flags: ['*'] }, null, { type: 'project.created', path: 'project:shop', tags: [] })).toBe(
    false,
  );
});
