import { LoginLimiter, networkOf } from '@guidon/control-plane/sessions/login-limiter.js';
import { describe, expect, test } from 'vitest';

describe('networkOf()', () => {
  test.each([
    ['127.0.0.1', '127.0.0.1'],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:0db8:0001:0002::9', '2001:db8:1:2'],
    ['2001:db8::9', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    ['', ''],
  ])('%s is %s', (address, network) => expect(networkOf(address)).toBe(network));
});

describe('LoginLimiter', () => {
  test('an IPv6 network is one address', () => {
    const limiter = new LoginLimiter(() => 0);
    for (let index = 0; index < 100; index += 1) limiter.begin(`a${index}`, `2001:db8::${index.toString(16)}`);
    expect(() => limiter.begin('other', '2001:db8::ffff')).toThrow(/too many/);
    expect(() => limiter.begin('other', '2001:db8:0:1::1')).not.toThrow();
  });

  test('successes are bounded too: each leaves an entry in the audit log', () => {
    const limiter = new LoginLimiter(() => 0);
    for (let index = 0; index < 60; index += 1) limiter.begin('a', '127.0.0.1').succeeded();
    expect(() => limiter.begin('a', '127.0.0.1')).toThrow(/too many/);
  });

  test('what came to no answer counts for nobody', () => {
    const limiter = new LoginLimiter(() => 0);
    for (let index = 0; index < 200; index += 1) limiter.begin('a', '127.0.0.1').abandoned();
    expect(() => limiter.begin('a', '127.0.0.1')).not.toThrow();
  });

  test.each<[string, (limiter: LoginLimiter, account: string) => void]>([
    [
      'is refused',
      (limiter, account) => {
        try {
          limiter.begin(account, '10.9.9.9');
        } catch {
          // Its address is over the limit after a hundred.
        }
      },
    ],
    ['comes to no answer', (limiter, account) => limiter.begin(account, '10.9.9.9').abandoned()],
  ])('who %s 20 000 times makes it forget neither an account nor an address', (_, attempt) => {
    const limiter = new LoginLimiter(() => 0);
    for (let index = 0; index < 10; index += 1) limiter.begin('guessed', '10.0.0.1');
    for (let index = 0; index < 100; index += 1) limiter.begin(`a${index}`, '10.0.0.2');
    for (let index = 0; index < 20_000; index += 1) attempt(limiter, `made-up-${index}`);
    expect(() => limiter.begin('guessed', '10.0.0.3')).toThrow(/too many/);
    expect(() => limiter.begin('other', '10.0.0.2')).toThrow(/too many/);
  });
});
