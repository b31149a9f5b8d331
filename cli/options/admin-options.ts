import { readFileSync } from 'node:fs';
import { PlatformError } from '@guidon/protocol';
import { Option } from 'commander';
import { AdminClient } from '../run/admin-client.js';
import { givenText, httpUrl } from './parsers.js';

/** What every command needs that asks a running control plane. */
export interface AdminOptions {
  readonly adminUrl: string;
  readonly tokenFile?: string;
}

export const adminUrl = () =>
  new Option('--admin-url <url>', 'where the control plane answers')
    .env('GUIDON_ADMIN_URL')
    .argParser(httpUrl)
    .default('http://127.0.0.1:4200');

export const tokenFile = () =>
  new Option('--token-file <file>', 'file with an admin token (gdn_adm_…); GUIDON_ADMIN_TOKEN holds one instead')
    .env('GUIDON_ADMIN_TOKEN_FILE')
    .argParser(givenText);

/** A token is never an argument: those are seen by everybody on the machine. */
export function adminClient({ adminUrl: url, tokenFile: path }: AdminOptions): AdminClient {
  const token = path === undefined ? process.env.GUIDON_ADMIN_TOKEN : readToken(path);
  if (token === undefined || token.trim() === '') {
    throw new PlatformError('invalid-credentials', 'Give an admin token: --token-file FILE, or GUIDON_ADMIN_TOKEN.');
  }
  return new AdminClient(url, token.trim());
}

function readToken(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new PlatformError('invalid-credentials', `${path} cannot be read: give the file that holds the admin token`, {
      cause,
    });
  }
}
