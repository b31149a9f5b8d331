import { createPrivateKey, createPublicKey, randomBytes, sign } from 'node:crypto';

/** The first byte of a key, shifted so that the text begins with that letter. */
const PREFIX = { operator: 14 << 3, account: 0, user: 20 << 3, seed: 18 << 3 } as const;
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
/** What stands before the 32 bytes of an Ed25519 seed in PKCS #8. */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex');

/** A key of NATS: Ed25519, written in base32 with a prefix and a CRC-16 behind it. */
export class NKey {
  readonly publicKey: string;
  readonly seed: string;
  readonly #privateKey: ReturnType<typeof createPrivateKey>;

  constructor(kind: 'operator' | 'account' | 'user') {
    const seed = randomBytes(32);
    this.#privateKey = createPrivateKey({ key: Buffer.concat([PKCS8_HEAD, seed]), format: 'der', type: 'pkcs8' });
    const spki = createPublicKey(this.#privateKey).export({ format: 'der', type: 'spki' });
    const prefix = PREFIX[kind];
    this.publicKey = withChecksum(Buffer.concat([Buffer.from([prefix]), spki.subarray(-32)]));
    const seedPrefix = Buffer.from([PREFIX.seed | (prefix >> 5), (prefix & 31) << 3]);
    this.seed = withChecksum(Buffer.concat([seedPrefix, seed]));
  }

  sign(bytes: Uint8Array): Buffer {
    return sign(null, bytes, this.#privateKey);
  }
}

function withChecksum(bytes: Buffer): string {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = ((crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021) & 0xffff;
  }
  return base32(Buffer.concat([bytes, Buffer.from([crc & 0xff, crc >> 8])]));
}

function base32(bytes: Buffer): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return (bits.match(/.{1,5}/g) ?? []).map((part) => ALPHABET[Number.parseInt(part.padEnd(5, '0'), 2)]).join('');
}
