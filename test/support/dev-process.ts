import { GuidonProcess } from './guidon-process.js';

/** A running `guidon dev` on free ports and what it printed. */
export interface DevProcess {
  readonly process: GuidonProcess;
  readonly adminUrl: string;
  readonly evaluateUrl: string;
  readonly healthUrl: string;
  readonly setupUrl: string | undefined;
  readonly tenantId: string;
  readonly serverKey: string;
  readonly webKey: string;
  readonly curlLine: string;
}

export async function startDev(dataFolder: string, args: readonly string[] = []): Promise<DevProcess> {
  const process = new GuidonProcess([
    'dev',
    '--data',
    dataFolder,
    '--admin-port',
    '0',
    '--port',
    '0',
    '--metrics-port',
    '0',
    ...args,
  ]);
  await process.waitFor(/Ctrl-C stops/);
  const found = (pattern: RegExp): string => pattern.exec(process.output)?.[1] ?? '';
  return {
    process,
    adminUrl: found(/admin API\s+(http\S+)/),
    evaluateUrl: found(/evaluate API\s+(http\S+)/),
    healthUrl: found(/health\s+(http\S+)/),
    setupUrl: /first admin\s+(http\S+)/.exec(process.output)?.[1],
    tenantId: found(/demo tenant\s+(\S+)/),
    serverKey: found(/server key\s+(\S+)/),
    webKey: found(/browser key\s+(\S+)/),
    curlLine: found(/^\s*(curl .*)$/m),
  };
}

/** Becomes the first admin the way the setup page does; returns the admin credential. */
export async function setUpAdmin(dev: DevProcess): Promise<string> {
  const token = new URL(dev.setupUrl ?? '').hash.slice(1);
  const response = await fetch(`${dev.adminUrl}/api/v1/setup`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token, name: 'first admin' }),
  });
  const { token: credential }: { token: string } = JSON.parse(await response.text());
  return credential;
}
