import { PlatformError, parseEnvironmentRef } from '@guidon/protocol';
import { type AccessEntry, type AccessList, generateCredential, hashSecret } from '@guidon/protocol/signed-config';
import { AccessDirectory } from '@guidon/server/auth/access-directory.js';
import { EnvironmentSlot } from '@guidon/server/environment-slot.js';
import { QuotaLedger } from '@guidon/server/quota/quota-ledger.js';
import { RequestHead } from '@guidon/server/request-head.js';
import { beforeEach, describe, expect, it } from 'vitest';

const NOW = 1_000_000;
const slotOf = (name: string) =>
  new EnvironmentSlot(
    parseEnvironmentRef({ tenantId: `ten-${name}`, projectId: 'p', environmentId: `env-${name}` }),
    0,
  );

function listOf(slot: EnvironmentSlot, entries: AccessEntry[], sequence = 1): AccessList {
  return { ...slot.environment, epoch: 1, sequence, schema: 1, keyId: 'k', issuedAt: 0, entries };
}

function entryOf(
  credential: { credentialId: string; secret: string },
  changes: Partial<AccessEntry> = {},
): AccessEntry {
  return {
    credentialId: credential.credentialId,
    kind: 'srv',
    secretHash: hashSecret(credential.secret),
    notAfter: null,
    revoked: false,
    permissions: [],
    allowedOrigins: [],
    ...changes,
  };
}

function headOf(headers: { authorization?: string; apiKey?: string }): RequestHead {
  const head = new RequestHead();
  head.authorization = headers.authorization ?? '';
  head.apiKey = headers.apiKey ?? '';
  return head;
}

describe('AccessDirectory', () => {
  const credential = generateCredential('srv');
  let slot: EnvironmentSlot;
  let directory: AccessDirectory;
  const bearer = (token: string, nowMs = NOW) =>
    directory.authenticate(headOf({ authorization: `Bearer ${token}` }), () => nowMs);

  beforeEach(() => {
    slot = slotOf('a');
    directory = new AccessDirectory(new QuotaLedger());
    directory.replace(slot, listOf(slot, [entryOf(credential)]));
  });

  it('authenticate() says not-ready, not wrong, to an id that a list which has not arrived may hold (I13)', () => {
    let knowsEveryone = false;
    directory = new AccessDirectory(new QuotaLedger(), () => knowsEveryone);
    expect(() => bearer(credential.token)).toThrow(expect.objectContaining({ code: 'not-ready' }));
    expect(() => bearer('gdn_srv_mistyped')).toThrow(expect.objectContaining({ code: 'invalid-credentials' }));
    knowsEveryone = true;
    expect(() => bearer(credential.token)).toThrow(expect.objectContaining({ code: 'invalid-credentials' }));
  });

  it('authenticate() finds the environment of a credential, by either header, the second time as well', () => {
    for (let round = 0; round < 2; round += 1) {
      expect(bearer(credential.token).slot).toBe(slot);
      expect(directory.authenticate(headOf({ authorization: `bearer ${credential.token}` }), () => NOW).slot).toBe(
        slot,
      );
      expect(directory.authenticate(headOf({ apiKey: credential.token }), () => NOW).slot).toBe(slot);
    }
  });

  it('authenticate() refuses all bad credentials with one text', () => {
    const other = generateCredential('srv');
    const sameId = `gdn_srv_${credential.credentialId}_${other.secret}`;
    const texts = [
      {},
      { authorization: credential.token },
      { authorization: `Basic ${credential.token}` },
      { authorization: 'Bearer ' },
      { authorization: `Bearer ${credential.token}x` },
      { authorization: `Bearer ${credential.token.slice(0, -1)}${credential.token.endsWith('0') ? '1' : '0'}` },
      { authorization: `Bearer  ${credential.token}` },
      { apiKey: `Bearer ${credential.token}` },
      { authorization: `Bearer ${other.token}` },
      { authorization: `Bearer ${sameId}` },
      { authorization: `Bearer ${generateCredential('adm').token}` },
      { authorization: `Bearer ${generateCredential('node').token}` },
    ].map((headers) => {
      try {
        directory.authenticate(headOf(headers), () => NOW);
        return 'accepted';
      } catch (error) {
        return error instanceof PlatformError ? `${error.code}: ${error.message}` : String(error);
      }
    });
    expect(new Set(texts).size).toBe(1);
    expect(texts[0]).toMatch(/^invalid-credentials/);
  });

  it('authenticate() refuses a token whose kind is not that of its entry', () => {
    directory.replace(slot, listOf(slot, [entryOf(credential, { kind: 'web' })], 2));
    expect(() => bearer(credential.token)).toThrow(PlatformError);
  });

  it('a revoked credential is refused from the next list on, although it was verified before', () => {
    bearer(credential.token);
    directory.replace(slot, listOf(slot, [entryOf(credential, { revoked: true })], 2));
    expect(() => bearer(credential.token)).toThrow(PlatformError);
  });

  it('a credential that left the list is refused although it was verified before', () => {
    bearer(credential.token);
    directory.replace(slot, listOf(slot, [], 2));
    expect(() => bearer(credential.token)).toThrow(PlatformError);
  });

  it('permissions of a new list apply to a credential that was verified before', () => {
    bearer(credential.token);
    directory.replace(slot, listOf(slot, [entryOf(credential, { permissions: ['explain'] })], 2));
    expect(bearer(credential.token).entry.permissions).toEqual(['explain']);
  });

  it('an expired credential is refused at its instant, although it was verified before', () => {
    directory.replace(slot, listOf(slot, [entryOf(credential, { notAfter: NOW + 10 })], 2));
    expect(bearer(credential.token, NOW + 9).slot).toBe(slot);
    expect(() => bearer(credential.token, NOW + 10)).toThrow(PlatformError);
  });

  it('an environment cannot take over a credential id of another one (I16)', () => {
    const thief = slotOf('b');
    const secret = generateCredential('srv');
    directory.replace(
      thief,
      listOf(thief, [entryOf({ credentialId: credential.credentialId, secret: secret.secret })]),
    );
    expect(bearer(credential.token).slot).toBe(slot);
  });

  it('remove() ends all credentials of an environment and no other', () => {
    const other = slotOf('b');
    const theirs = generateCredential('srv');
    directory.replace(other, listOf(other, [entryOf(theirs)]));
    bearer(credential.token);
    directory.remove(slot);
    expect(() => bearer(credential.token)).toThrow(PlatformError);
    expect(bearer(theirs.token).slot).toBe(other);
  });
});
