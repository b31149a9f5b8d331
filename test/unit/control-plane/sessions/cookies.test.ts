import { Cookies } from '@guidon/control-plane/sessions/cookies.js';
import { assertNotFromElsewhere } from '@guidon/control-plane/sessions/csrf.js';
import { describe, expect, test } from 'vitest';

const cookiesOf = (request: {
  protocol?: 'http' | 'https';
  host?: string;
  headers?: Record<string, string>;
  publicOrigin?: string;
}): Cookies => {
  const { protocol = 'http', host = 'localhost', headers = {}, publicOrigin } = request;
  return new Cookies({ protocol, host, headers, server: { publicOrigin } });
};

describe('Cookies', () => {
  test.each([
    ['http', '127.0.0.1:4200', undefined, false],
    ['http', 'LOCALHOST', undefined, false],
    ['http', '[::1]:4200', undefined, false],
    ['https', 'localhost', undefined, true],
    // Behind a proxy nobody told us of: the name says that it is not this machine.
    ['http', 'flags.example', undefined, true],
    ['http', '127.0.0.1.evil.example', undefined, true],
    ['http', 'localhost:x', undefined, true],
    ['http', '127.0.0.1:4200', 'https://flags.example', true],
    ['http', '127.0.0.1:4200', 'http://127.0.0.1:80', false],
  ] as const)('over %s to %s, known as %s, are secure: %s', (protocol, host, publicOrigin, isSecure) => {
    const cookies = cookiesOf({ protocol, host, ...(publicOrigin === undefined ? {} : { publicOrigin }) });
    expect(cookies.isSecure).toBe(isSecure);
    expect(cookies.set('guidon', 'v').startsWith('__Host-')).toBe(isSecure);
  });

  test('a page of the public URL is ours, when a proxy does not pass the Host on', () => {
    const behind = { host: '127.0.0.1:4200', publicOrigin: 'https://flags.example' };
    const from = (origin: string) => () => assertNotFromElsewhere(cookiesOf({ ...behind, headers: { origin } }));
    expect(from('https://flags.example')).not.toThrow();
    expect(from('https://flags.example.evil')).toThrow(/Origin/);
    expect(from('http://flags.example')).toThrow(/Origin/);
  });
});
