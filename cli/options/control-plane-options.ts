import { readFileSync } from 'node:fs';
import { PlatformError } from '@guidon/protocol';
import { type Command, Option } from 'commander';
import { AdminClient } from '../admin/admin-client.js';
import { givenText, httpUrl } from './parsers.js';

/** What every command needs that asks a running control plane. */
export interface ControlPlaneOptions {
  readonly controlPlane: string;
  readonly tokenFile?: string;
}

/** Whose flags. */
export interface ProjectOptions extends ControlPlaneOptions {
  readonly tenant: string;
  readonly project: string;
}

export const controlPlane = (where = 'where the control plane answers') =>
  new Option('--control-plane <url>', where)
    .env('GUIDON_CONTROL_PLANE_URL')
    .argParser(httpUrl)
    .default('http://127.0.0.1:4200');

/** A token is never an argument: those are seen by everybody on the machine. `whose`: who may do what the command does. */
export function addControlPlaneOptions(command: Command, whose: string): Command {
  return command
    .addOption(controlPlane())
    .addOption(
      new Option(
        '--token-file <file>',
        `file with a token (gdn_adm_…) of ${whose}; without it GUIDON_ADMIN_TOKEN is one`,
      )
        .env('GUIDON_ADMIN_TOKEN_FILE')
        .argParser(givenText),
    );
}

export function addProjectOptions(command: Command): Command {
  return addControlPlaneOptions(command, 'somebody who may read the project')
    .addOption(
      new Option('--tenant <id>', 'id of the tenant').env('GUIDON_TENANT').argParser(givenText).makeOptionMandatory(),
    )
    .addOption(
      new Option('--project <key>', 'key of the project')
        .env('GUIDON_PROJECT')
        .argParser(givenText)
        .makeOptionMandatory(),
    );
}

/** Asks with the token of the options. */
export function clientOf({ controlPlane: url, tokenFile }: ControlPlaneOptions): AdminClient {
  const token = tokenFile === undefined ? process.env.GUIDON_ADMIN_TOKEN : readToken(tokenFile);
  if (token === undefined || token.trim() === '') {
    throw new PlatformError('invalid-credentials', 'give an admin token: --token-file FILE, or GUIDON_ADMIN_TOKEN');
  }
  return new AdminClient(url, token.trim());
}

function readToken(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const detail = `--token-file: ${path} cannot be read: give the file that holds the admin token`;
    throw new PlatformError('invalid-credentials', detail, { cause });
  }
}

export function projectPath({ tenant, project }: ProjectOptions): string {
  return `/api/v1/tenants/${encodeURIComponent(tenant)}/projects/${encodeURIComponent(project)}`;
}

/** Every item of a list, page by page. */
export async function* itemsOf(client: AdminClient, path: string): AsyncGenerator<ReadonlyMap<string, unknown>> {
  let cursor = '';
  do {
    const answer = await client.get(`${path}?limit=100${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`);
    yield* answer.items();
    cursor = answer.findText('nextCursor') ?? '';
  } while (cursor !== '');
}
