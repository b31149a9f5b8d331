import { copyFileSync, cpSync, existsSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { signManifest } from '@guidon/control-plane/publish/sign-documents.js';
import { SigningKeys } from '@guidon/control-plane/signing-keys/signing-keys.js';
import { parseEnvironmentRef } from '@guidon/protocol';
import { type Signed, TrustedKeys } from '@guidon/protocol/signed-config';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const ENVIRONMENT = parseEnvironmentRef({ tenantId: 't', projectId: 'p', environmentId: 'e' });
let directory: string;

beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), 'guidon-keys-')), 'keys');
});
afterEach(() => rmSync(join(directory, '..'), { recursive: true }));

const statesOf = (keys: SigningKeys): string[] => keys.list().map(({ state }) => state);
const idIn = (keys: SigningKeys, state: string): string =>
  keys.list().find((key) => key.state === state)?.keyId ?? `no ${state} key`;

function manifestAt(now: number, keys: SigningKeys): Signed {
  const at = { epoch: 1, revision: 1, previousDigest: '', digest: '0'.repeat(64), now };
  return signManifest(ENVIRONMENT, at, keys.signingKey);
}

/** What somebody who pinned the root makes of a document. */
function isTrusted(keys: SigningKeys, signed: Signed): boolean {
  const trusted = new TrustedKeys(keys.rootPublicKey, keys.trustRoot);
  trusted.acceptKeySet(keys.keySet);
  try {
    trusted.verifyManifest(ENVIRONMENT, signed);
    return true;
  } catch {
    return false;
  }
}

describe('SigningKeys', () => {
  it('makes its files once, for the owner alone, and reads them again', () => {
    const made = SigningKeys.open(directory, 1_000);
    expect(readdirSync(directory).sort()).toEqual(['key-set', 'root.pem', 'signing.pem']);
    expect(statSync(join(directory, 'root.pem')).mode & 0o777).toBe(0o600);
    const read = SigningKeys.open(directory, 2_000);
    expect(read.trustRoot).toBe(made.trustRoot);
    expect(read.keySet).toEqual(made.keySet);
    expect(read.list()).toEqual(made.list());
  });

  it('rotates with an overlap: known before it signs, and what was signed before holds', () => {
    const keys = SigningKeys.open(directory, 1_000);
    const first = keys.signingKey.keyId;
    const before = manifestAt(1_500, keys);
    keys.planIntroduction()(2_000);
    expect(statesOf(keys)).toEqual(['active', 'next']);
    expect(keys.signingKey.keyId).toBe(first);
    expect(isTrusted(keys, manifestAt(2_500, keys))).toBe(true);
    keys.planActivation(idIn(keys, 'next'))(3_000);
    expect(statesOf(keys)).toEqual(['retired', 'active']);
    expect(keys.version).toBe(3);
    expect(isTrusted(keys, before)).toBe(true);
    expect(isTrusted(keys, manifestAt(3_500, keys))).toBe(true);
    expect(SigningKeys.open(directory, 4_000).list()).toEqual(keys.list());
  });

  it('lets nobody sign later with a retired key, and nothing of a revoked one hold', () => {
    const keys = SigningKeys.open(directory, 1_000);
    const stolen = SigningKeys.open(directory, 1_000);
    const before = manifestAt(1_500, keys);
    keys.planIntroduction()(2_000);
    keys.planActivation(idIn(keys, 'next'))(3_000);
    expect(isTrusted(keys, manifestAt(3_000, stolen))).toBe(true);
    expect(isTrusted(keys, manifestAt(3_001, stolen))).toBe(false);
    keys.planRevocation(idIn(keys, 'retired'))(4_000);
    expect(isTrusted(keys, before)).toBe(false);
    expect(isTrusted(keys, manifestAt(4_500, keys))).toBe(true);
  });

  it('refuses an older key set, and one of another root', () => {
    const keys = SigningKeys.open(directory, 1_000);
    const older = keys.keySet;
    keys.planIntroduction()(2_000);
    const trusted = new TrustedKeys(keys.rootPublicKey, keys.trustRoot);
    trusted.acceptKeySet(keys.keySet);
    expect(() => trusted.acceptKeySet(older)).toThrow('older');
    const other = SigningKeys.open(`${directory}-other`, 1_000);
    expect(() => trusted.acceptKeySet(other.keySet)).toThrow('not signed by the root');
  });

  it('takes each step only where it makes sense', () => {
    const keys = SigningKeys.open(directory, 1_000);
    const active = idIn(keys, 'active');
    expect(() => keys.planActivation(active)).toThrow('is active, not the next one');
    expect(() => keys.planRevocation(active)).toThrow('activate another one first');
    expect(() => keys.planActivation('nothing')).toThrow('no such key');
    keys.planIntroduction()(2_000);
    expect(() => keys.planIntroduction()).toThrow('there is a next key already');
    keys.planRevocation(idIn(keys, 'next'))(3_000);
    expect(existsSync(join(directory, 'next.pem'))).toBe(false);
    expect(statesOf(keys)).toEqual(['active']);
  });

  it('names at most sixteen keys', () => {
    const keys = SigningKeys.open(directory, 0);
    for (let now = 1; now < 16; now += 1) {
      keys.planIntroduction()(now);
      keys.planActivation(idIn(keys, 'next'))(now);
    }
    expect(() => keys.planIntroduction()).toThrow('at most 16 keys');
  });

  it('goes on where a kill stopped it', () => {
    const keys = SigningKeys.open(directory, 1_000);
    keys.planIntroduction()(2_000);
    const before = `${directory}-before`;
    cpSync(directory, before, { recursive: true });
    // Made, but not named yet.
    copyFileSync(join(before, 'next.pem'), join(directory, 'made.pem'));
    keys.planRevocation(idIn(keys, 'next'))(3_000);
    renameSync(join(directory, 'made.pem'), join(directory, 'next.pem'));
    const made = SigningKeys.open(directory, 4_000);
    expect(statesOf(made)).toEqual(['active']);
    made.planIntroduction()(4_000);
    expect(statesOf(made)).toEqual(['active', 'next']);
    // Activated, but the key before is not retired yet.
    renameSync(join(before, 'next.pem'), join(before, 'signing.pem'));
    const activated = SigningKeys.open(before, 5_000);
    expect(activated.list().map(({ state, notAfter }) => [state, notAfter])).toEqual([
      ['retired', 5_000],
      ['active', undefined],
    ]);
  });

  it('signs on while the root key is kept elsewhere, and says what a rotation needs', () => {
    const keys = SigningKeys.open(directory, 1_000);
    renameSync(join(directory, 'root.pem'), `${directory}-root.pem`);
    const without = SigningKeys.open(directory, 2_000);
    expect(without.trustRoot).toBe(keys.trustRoot);
    expect(isTrusted(without, manifestAt(2_500, without))).toBe(true);
    expect(() => without.planIntroduction()).toThrow('put root.pem beside the key set');
    SigningKeys.open(`${directory}-other`, 0);
    copyFileSync(join(`${directory}-other`, 'root.pem'), join(directory, 'root.pem'));
    expect(() => without.planIntroduction()).toThrow('put root.pem beside the key set');
    expect(() => SigningKeys.open(directory, 3_000)).toThrow('do not belong together');
    renameSync(`${directory}-root.pem`, join(directory, 'root.pem'));
    without.planIntroduction()(3_000);
    expect(statesOf(without)).toEqual(['active', 'next']);
  });
});
