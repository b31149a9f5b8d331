import { createPublicKey, verify } from 'node:crypto';
import { newSecret, signatureHeaders } from '@guidon/control-plane/webhooks/sign-message.js';
import { Webhook } from 'standardwebhooks';
import { expect, test } from 'vitest';

const message = { id: 'msg_1', body: '{"é":"漢🌍"}' };

test('signatureHeaders() makes what the specification’s own library makes', () => {
  const { secret } = newSecret('hmac');
  const headers = signatureHeaders(message, [secret], 1_700_000_000_999);
  expect(headers).toEqual({
    'webhook-id': 'msg_1',
    'webhook-timestamp': '1700000000',
    'webhook-signature': new Webhook(secret).sign('msg_1', new Date(1_700_000_000_000), message.body),
  });
});

test('signatureHeaders() signs by ed25519 so that the public key verifies id, time and body', () => {
  const { secret, publicKey } = newSecret('ed25519');
  const headers = signatureHeaders(message, [secret], 5_000);
  const x = Buffer.from(publicKey.slice('whpk_'.length), 'base64').toString('base64url');
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  const signature = Buffer.from((headers['webhook-signature'] ?? '').slice('v1a,'.length), 'base64');
  const isSigned = (text: string) => verify(null, Buffer.from(text), key, signature);
  expect(isSigned(`msg_1.5.${message.body}`)).toBe(true);
  for (const other of [`msg_2.5.${message.body}`, `msg_1.6.${message.body}`, 'msg_1.5.{}']) {
    expect(isSigned(other)).toBe(false);
  }
});

test('signatureHeaders() has one signature per secret, in their order', () => {
  const [first, second] = [newSecret('hmac').secret, newSecret('hmac').secret];
  const one = (secret: string) => signatureHeaders(message, [secret], 0)['webhook-signature'];
  expect(signatureHeaders(message, [first, second], 0)['webhook-signature']).toBe(`${one(first)} ${one(second)}`);
});

test('newSecret() gives 32 random bytes', () => {
  const secrets = Array.from({ length: 20 }, () => newSecret('hmac').secret);
  expect(new Set(secrets).size).toBe(20);
  for (const secret of secrets) expect(Buffer.from(secret.slice('whsec_'.length), 'base64')).toHaveLength(32);
});
