import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exposureOf, isLoopback } from '@guidon/cli/run/exposure.js';
import { afterAll, describe, expect, it } from 'vitest';
import { TestAuthority } from '../../support/certificates.js';
import { temporaryFolder } from '../../support/guidon-process.js';

const folder = temporaryFolder('exposure');
const authority = new TestAuthority(folder.path);
const { certFile, keyFile } = authority.issue('one', 'one');
const noPem = join(folder.path, 'no.pem');
writeFileSync(noPem, 'hello');
afterAll(() => folder.remove());

describe('exposureOf()', () => {
  it.each(['0.0.0.0', '::', '10.1.2.3', 'example.test', '::ffff:127.0.0.1'])('refuses %s in clear text', (host) => {
    expect(() => exposureOf({ host })).toThrow(/--tls-cert and --tls-key; .*--trusted-proxy; .*127\.0\.0\.1/);
  });

  it.each(['127.0.0.1', '127.1.2.3', '::1', 'localhost'])('lets %s be', (host) => {
    expect(exposureOf({ host })).toEqual({});
  });

  it('takes either way out', () => {
    const host = '0.0.0.0';
    expect(exposureOf({ host, tlsCert: certFile, tlsKey: keyFile })).toEqual({ tls: { certFile, keyFile } });
    expect(exposureOf({ host, trustedProxy: ['10.0.0.0/8'] })).toEqual({ trustedProxies: ['10.0.0.0/8'] });
  });

  it.each([
    [{ tlsCert: certFile }, /--tls-cert needs --tls-key/],
    [{ tlsKey: keyFile }, /--tls-key needs --tls-cert/],
    [
      { tlsCert: join(folder.path, 'gone'), tlsKey: keyFile },
      /--tls-cert: .*gone cannot be read \(ENOENT\): give the path/,
    ],
    [{ tlsCert: certFile, tlsKey: folder.path }, /--tls-key: .* cannot be read \(EISDIR\)/],
    [{ tlsCert: noPem, tlsKey: keyFile }, /--tls-cert: .* holds no certificate in PEM form/],
    [{ tlsCert: keyFile, tlsKey: keyFile }, /--tls-cert: .* holds no certificate in PEM form/],
    [{ tlsCert: certFile, tlsKey: noPem }, /--tls-key: .* does not fit/],
    [{ tlsCert: certFile, tlsKey: authority.issue('two', 'two').keyFile }, /--tls-key: .* does not fit/],
  ])('%j is refused with a sentence', (files, sentence) => {
    expect(() => exposureOf({ host: '127.0.0.1', ...files })).toThrow(sentence);
  });
});

describe('isLoopback()', () => {
  it.each(['127.0.0.1.example.test', '1127.0.0.1', '', '0', '::1%lo'])('%j may be anywhere', (host) => {
    expect(isLoopback(host)).toBe(false);
  });
});
