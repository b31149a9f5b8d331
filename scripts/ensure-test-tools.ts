import { spawnSync } from 'node:child_process';

/** Programs that tests run, and the Debian packages that bring each. */
const TOOLS: readonly (readonly [program: string, debianPackage: string])[] = [
  ['curl', 'curl'],
  ['cc', 'gcc libc6-dev'],
  ['strace', 'strace'],
  ['nginx', 'nginx'],
  ['openssl', 'openssl'],
  ['nats-server', 'nats-server'],
  ['varnishd', 'varnish'],
  ['chromium', 'chromium'],
  ['promtool', 'prometheus'],
];

const isThere = (program: string): boolean => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;

const missing = TOOLS.filter(([program]) => !isThere(program)).map(([, debianPackage]) => debianPackage);
if (missing.length > 0) {
  const install = `apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ${missing.join(' ')}`;
  const { status } = spawnSync('sh', ['-c', install], { stdio: 'inherit' });
  if (status !== 0 || TOOLS.some(([program]) => !isThere(program))) {
    console.error(`The tests need ${missing.join(', ')}: install with your package manager, then run them again.`);
    process.exitCode = 1;
  }
}
