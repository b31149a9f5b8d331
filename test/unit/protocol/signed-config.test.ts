import { type EnvironmentRef, parseEnvironmentRef } from '@guidon/protocol';
import { decodeConfigMessage, decodeSigned, encodeConfigMessage, encodeSigned } from '@guidon/protocol/msgpack';
import {
  type AccessList,
  DigestTree,
  DOCUMENT_SCHEMA,
  EnvironmentDigests,
  encodeDocument,
  fingerprintOf,
  generateSigningKey,
  hashDefinition,
  isSignedBy,
  type KeySet,
  type Manifest,
  parseAccessList,
  parseManifest,
  type SigningKey,
  signDocument,
  signingKeyFromPem,
  signingKeyToPem,
  TrustedKeys,
  VerifiedSignatures,
} from '@guidon/protocol/signed-config';
import { describe, expect, it } from 'vitest';

const environment = parseEnvironmentRef({ tenantId: 'ten_1', projectId: 'prj_1', environmentId: 'env_1' });
const root = generateSigningKey();
const signing = generateSigningKey();

function manifest(changes: Partial<Manifest> = {}): Manifest {
  return {
    ...environment,
    epoch: 1,
    revision: 1,
    previousDigest: '',
    digest: 'ab'.repeat(32),
    schema: DOCUMENT_SCHEMA,
    keyId: signing.keyId,
    issuedAt: 1_700_000_000_000,
    expiresAt: 1_800_000_000_000,
    ...changes,
  };
}

function keySet(version: number, keys: readonly SigningKey[]): KeySet {
  return {
    schema: DOCUMENT_SCHEMA,
    version,
    issuedAt: 0,
    keys: keys.map(({ keyId, publicKey }) => ({ keyId, publicKey })),
  };
}

function trusted(isSigned = isSignedBy): TrustedKeys {
  const keys = new TrustedKeys(root.publicKey, fingerprintOf(root.publicKey), isSigned);
  keys.acceptKeySet(signDocument(encodeDocument(keySet(2, [signing])), root));
  return keys;
}

describe('TrustedKeys', () => {
  it('verifies a manifest down from the pinned root', () => {
    const signed = signDocument(encodeDocument(manifest()), signing);
    expect(trusted().verifyManifest(environment, signed)).toEqual(manifest());
  });

  it('keeps trusting after a round trip of the key through PEM', () => {
    const again = signingKeyFromPem(signingKeyToPem(signing));
    expect(again).toMatchObject({ keyId: signing.keyId, publicKey: signing.publicKey });
    trusted().verifyManifest(environment, signDocument(encodeDocument(manifest()), again));
  });

  it('verifies the same bytes again, and nothing that only resembles them or is signed by a key that has gone', () => {
    const keys = trusted(new VerifiedSignatures(10).isSignedBy);
    const { document, signature } = signDocument(encodeDocument(manifest()), signing);
    for (let time = 0; time < 3; time += 1) {
      expect(keys.verifyManifest(environment, { document: document.slice(), signature }).revision).toBe(1);
      const others = [
        { document, signature: signature.map((byte, index) => (index === 63 ? byte ^ 1 : byte)) },
        { document: encodeDocument(manifest({ revision: 2 })), signature },
        // The same bytes in a row, cut elsewhere.
        { document: Buffer.concat([signature.subarray(63), document]), signature: signature.subarray(0, 63) },
      ];
      for (const other of others) expect(() => keys.verifyManifest(environment, other)).toThrow();
    }
    keys.acceptKeySet(signDocument(encodeDocument(keySet(3, [generateSigningKey()])), root));
    expect(() => keys.verifyManifest(environment, { document, signature })).toThrow('key that is not in force');
  });

  it('refuses another root than the pinned one', () => {
    expect(() => new TrustedKeys(signing.publicKey, fingerprintOf(root.publicKey))).toThrow(/pinned/);
  });

  it.each<[string, EnvironmentRef, (keys: { other: SigningKey }) => ReturnType<typeof signDocument>, RegExp]>([
    [
      'a flipped byte',
      environment,
      () => flipped(signDocument(encodeDocument(manifest()), signing)),
      /not JSON|signature is wrong|signed document/,
    ],
    [
      'a key that is not in force',
      environment,
      ({ other }) => signDocument(encodeDocument(manifest({ keyId: other.keyId })), other),
      /not in force/,
    ],
    [
      'a signature of another key under a known key id',
      environment,
      ({ other }) => signDocument(encodeDocument(manifest()), other),
      /signature is wrong/,
    ],
    [
      'a short signature',
      environment,
      () => ({ document: encodeDocument(manifest()), signature: new Uint8Array(63) }),
      /signature is wrong/,
    ],
    [
      'the root key signing a manifest',
      environment,
      () => signDocument(encodeDocument(manifest({ keyId: root.keyId })), root),
      /not in force/,
    ],
    [
      'another environment',
      parseEnvironmentRef({ ...environment, environmentId: 'env_2' }),
      () => signDocument(encodeDocument(manifest()), signing),
      /another environment/,
    ],
    [
      'another tenant',
      parseEnvironmentRef({ ...environment, tenantId: 'ten_2' }),
      () => signDocument(encodeDocument(manifest()), signing),
      /another environment/,
    ],
    ['an unknown schema', environment, () => signDocument(encodeDocument(manifest({ schema: 2 })), signing), /schema/],
    [
      'a revision that is no whole number',
      environment,
      () => signDocument(encodeDocument(manifest({ revision: 1.5 })), signing),
      /revision/,
    ],
  ])('refuses %s', (_name, asked, make, message) => {
    expect(() => trusted().verifyManifest(asked, make({ other: generateSigningKey() }))).toThrow(message);
  });

  it('refuses a key set that is older or not signed by the root, and forgets a key that was rotated out', () => {
    const keys = trusted();
    const next = generateSigningKey();
    expect(() => keys.acceptKeySet(signDocument(encodeDocument(keySet(1, [signing])), root))).toThrow(/older/);
    expect(() => keys.acceptKeySet(signDocument(encodeDocument(keySet(9, [next])), signing))).toThrow(
      /not signed by the root/,
    );
    keys.acceptKeySet(signDocument(encodeDocument(keySet(3, [next])), root));
    expect(() => keys.verifyManifest(environment, signDocument(encodeDocument(manifest()), signing))).toThrow(
      /not in force/,
    );
  });

  it('verifies access lists alike', () => {
    const list: AccessList = {
      ...environment,
      epoch: 1,
      sequence: 4,
      schema: DOCUMENT_SCHEMA,
      keyId: signing.keyId,
      issuedAt: 0,
      entries: [],
    };
    const signed = signDocument(encodeDocument(list), signing);
    expect(trusted().verifyAccessList(environment, signed)).toEqual(list);
    expect(() => trusted().verifyAccessList(environment, flipped(signed))).toThrow();
  });
});

describe('documents', () => {
  it.each(['epoch', 'revision', 'digest', 'schema', 'keyId', 'issuedAt', 'expiresAt', 'tenantId', 'previousDigest'])(
    'parseManifest() refuses a missing, null or foreign-typed %s',
    (name) => {
      for (const value of [undefined, null, '', -1, 1.5, {}, 'a b', true]) {
        const text = JSON.stringify({ ...manifest(), [name]: value });
        if (name === 'previousDigest' && value === '') continue;
        expect(() => parseManifest(Buffer.from(text)), `${name} = ${JSON.stringify(value)}`).toThrow(/must/);
      }
    },
  );

  it('parseAccessList() takes an entry without `revoked` as revoked: absence never grants', () => {
    const entry = {
      credentialId: 'A'.repeat(22),
      kind: 'srv',
      secretHash: 'ab'.repeat(32),
      notAfter: null,
      permissions: [],
      allowedOrigins: [],
    };
    const bytes = Buffer.from(
      JSON.stringify({ ...environment, epoch: 1, sequence: 1, schema: 1, keyId: 'k', issuedAt: 0, entries: [entry] }),
    );
    expect(parseAccessList(bytes).entries[0]?.revoked).toBe(true);
  });
});

describe('DigestTree', () => {
  const hash = (text: string) => hashDefinition(Buffer.from(text));

  it('depends on the set of entries, not on how it came about', () => {
    const grown = new DigestTree();
    for (let count = 0; count < 1_000; count += 1) grown.set('flag', `flag-${count}`, hash(`${count}`));
    grown.set('flag', 'gone', hash('x'));
    grown.digest();
    grown.delete('flag', 'gone');
    const fresh = new DigestTree();
    for (let count = 999; count >= 0; count -= 1) fresh.set('flag', `flag-${count}`, hash(`${count}`));
    expect(grown.digest()).toBe(fresh.digest());
  });

  it('changes with a kind, a key, a definition, and with an entry less', () => {
    const digestOf = (...entries: [string, string, string][]) => {
      const tree = new DigestTree();
      for (const [kind, key, text] of entries) tree.set(kind, key, hash(text));
      return tree.digest();
    };
    const digests = [
      digestOf(),
      digestOf(['flag', 'a', '1']),
      digestOf(['segment', 'a', '1']),
      digestOf(['flag', 'b', '1']),
      digestOf(['flag', 'a', '2']),
    ];
    expect(new Set(digests).size).toBe(digests.length);
  });

  it('clone() is unaffected by later changes of either', () => {
    const tree = new DigestTree();
    tree.set('flag', 'a', hash('1'));
    const copy = tree.clone();
    const before = copy.digest();
    tree.set('flag', 'a', hash('2'));
    expect(copy.digest()).toBe(before);
    copy.set('flag', 'a', hash('2'));
    expect(copy.digest()).toBe(tree.digest());
  });

  it('clone() shares nothing that either of the two changes, also when it is copied again', () => {
    const tree = new DigestTree();
    tree.set('flag', 'a', hash('1'));
    const copy = tree.clone();
    tree.set('flag', 'a', hash('2'));
    expect(copy.find('flag', 'a')).toEqual(hash('1'));
    copy.delete('flag', 'a');
    expect(tree.find('flag', 'a')).toEqual(hash('2'));
    const second = tree.clone();
    second.set('flag', 'a', hash('3'));
    expect(tree.find('flag', 'a')).toEqual(hash('2'));
    tree.delete('flag', 'a');
    expect(second.find('flag', 'a')).toEqual(hash('3'));
    expect(tree.digest()).toBe(new DigestTree().digest());
  });
});

describe('messages', () => {
  const signed = signDocument(encodeDocument(manifest()), signing);

  it('a config message survives the wire byte for byte', () => {
    const message = {
      signed,
      previousRevision: 3,
      delta: { changed: [Buffer.from('{"é":1}')], removed: [['flag', 'old'] as const] },
    };
    const decoded = decodeConfigMessage(encodeConfigMessage(message));
    expect(Buffer.from(decoded.signed.document)).toEqual(Buffer.from(signed.document));
    expect(decoded.delta?.changed.map((bytes) => Buffer.from(bytes).toString())).toEqual(['{"é":1}']);
    expect(decoded.delta?.removed).toEqual([['flag', 'old']]);
    expect(decodeConfigMessage(encodeConfigMessage({ signed, previousRevision: 3 })).delta).toBeUndefined();
  });

  it('a signed document carries its extra members', () => {
    const { extra } = decodeSigned(encodeSigned(signed, { rootPublicKey: 'abc' }));
    expect(extra.get('rootPublicKey')).toBe('abc');
  });

  it('a message cut anywhere is refused as malformed-body', () => {
    const bytes = encodeConfigMessage({
      signed,
      previousRevision: 0,
      delta: { changed: [Buffer.from('{}')], removed: [] },
    });
    for (let cut = 0; cut < bytes.length; cut += 1) {
      expect(() => decodeConfigMessage(bytes.subarray(0, cut))).toThrow(
        expect.objectContaining({ code: 'malformed-body' }),
      );
    }
  });
});

describe('EnvironmentDigests', () => {
  it('moves root and one bucket with any of epoch, revision and access sequence, and back', () => {
    const digests = new EnvironmentDigests();
    const state = { ...environment, epoch: 1, revision: 1, accessSequence: 1 };
    digests.set(state);
    const before = { root: digests.root(), buckets: [...digests.bucketDigests()] };
    for (const change of [{ epoch: 2 }, { revision: 2 }, { accessSequence: 2 }]) {
      digests.set({ ...state, ...change });
      expect(digests.root()).not.toBe(before.root);
      expect(digests.bucketDigests().filter((digest, index) => digest !== before.buckets[index])).toHaveLength(1);
    }
    digests.set(state);
    expect(digests.root()).toBe(before.root);
    digests.delete(environment.environmentId);
    expect(digests.root()).toBe(new EnvironmentDigests().root());
  });
});

function flipped(signed: ReturnType<typeof signDocument>): ReturnType<typeof signDocument> {
  const document = Uint8Array.from(signed.document);
  document[document.length - 5] = (document[document.length - 5] ?? 0) ^ 1;
  return { document, signature: signed.signature };
}
