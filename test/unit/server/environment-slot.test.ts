import { parseEnvironmentRef } from '@guidon/protocol';
import { EnvironmentSlot } from '@guidon/server/environment-slot.js';
import { describe, expect, it } from 'vitest';

const environment = parseEnvironmentRef({ tenantId: 't', projectId: 'p', environmentId: 'e' });

describe('EnvironmentSlot', () => {
  it('markAge() shows X-Config-Age only past the bound, and takes it away again', () => {
    const slot = new EnvironmentSlot(environment, 0);
    const head = () => Buffer.from(slot.answerHeads.json.bytes).toString();
    slot.markAge(5_000, 5_000);
    expect(head()).not.toContain('X-Config-Age');
    slot.markAge(61_500, 5_000);
    expect(head()).toContain('\r\nX-Config-Age: 61');
    slot.confirmedAtMs = 61_400;
    slot.markAge(61_500, 5_000);
    expect(head()).not.toContain('X-Config-Age');
  });

  it('waitForRevision() lets only so many wait (I25)', async () => {
    const slot = new EnvironmentSlot(environment, 0);
    const waiting = Array.from({ length: 256 }, () => slot.waitForRevision(1));
    await expect(slot.waitForRevision(1)).resolves.toBe(false);
    await expect(Promise.all(waiting)).resolves.toContain(false);
  });
});
