import { PlatformError } from '@guidon/protocol';
import { type Command, Option } from 'commander';
import { AdminClient } from '../run/admin-client.js';
import { givenText, httpUrl } from './parsers.js';

/** What every command needs that reads of a running control plane. */
export interface ControlPlaneOptions {
  readonly controlPlane: string;
  readonly token?: string;
}

/** Whose flags. */
export interface ProjectOptions extends ControlPlaneOptions {
  readonly tenant: string;
  readonly project: string;
}

export const controlPlane = () =>
  new Option('--control-plane <url>', 'where the control plane answers')
    .env('GUIDON_CONTROL_PLANE_URL')
    .argParser(httpUrl)
    .default('http://127.0.0.1:4200');

/** `whose`: who may do what the command does. */
export const token = (whose: string) =>
  new Option('--token <token>', `of ${whose}; better given as GUIDON_ADMIN_TOKEN`).env('GUIDON_ADMIN_TOKEN');

export function addProjectOptions(command: Command): Command {
  return command
    .addOption(controlPlane())
    .addOption(token('somebody who may read the project'))
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
export function clientOf({ controlPlane: url, token: given }: ControlPlaneOptions): AdminClient {
  if (given === undefined || given.trim() === '') {
    throw new PlatformError('invalid-credentials', 'set GUIDON_ADMIN_TOKEN to a token of somebody who may read it');
  }
  return new AdminClient(url.replace(/\/+$/, ''), given.trim());
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
