import { readFileSync } from 'node:fs';
import { PlatformError } from '@guidon/protocol';
import { type Command, Option } from 'commander';
import { givenText } from './parsers.js';

/** Where people may log in besides with passwords. All three or none. */
export interface OidcCliOptions {
  readonly oidcIssuer?: string;
  readonly oidcClientId?: string;
  readonly oidcClientSecretFile?: string;
}

/** The secret itself is in a file or in GUIDON_OIDC_CLIENT_SECRET: command lines are for all to see. */
export function addOidcOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--oidc-issuer <url>', 'identity provider (OpenID Connect) through which people may log in')
        .env('GUIDON_OIDC_ISSUER')
        .argParser(givenText),
    )
    .addOption(
      new Option('--oidc-client-id <id>', 'what the provider calls this installation')
        .env('GUIDON_OIDC_CLIENT_ID')
        .argParser(givenText),
    )
    .addOption(
      new Option('--oidc-client-secret-file <file>', 'file with the client secret; or set GUIDON_OIDC_CLIENT_SECRET')
        .env('GUIDON_OIDC_CLIENT_SECRET_FILE')
        .argParser(givenText),
    );
}

/** Undefined when nothing of it is given. */
export function oidcFrom(
  options: OidcCliOptions,
  secretInEnvironment: string | undefined = process.env.GUIDON_OIDC_CLIENT_SECRET,
): { readonly issuer: string; readonly clientId: string; readonly clientSecret: string } | undefined {
  const { oidcIssuer, oidcClientId, oidcClientSecretFile } = options;
  if (oidcIssuer === undefined && oidcClientId === undefined && oidcClientSecretFile === undefined) return undefined;
  const clientSecret = oidcClientSecretFile === undefined ? secretInEnvironment : readSecret(oidcClientSecretFile);
  if (oidcIssuer === undefined || oidcClientId === undefined || clientSecret === undefined) {
    throw new PlatformError(
      'validation-failed',
      'OIDC needs --oidc-issuer, --oidc-client-id and --oidc-client-secret-file (or GUIDON_OIDC_CLIENT_SECRET)',
    );
  }
  return { issuer: oidcIssuer, clientId: oidcClientId, clientSecret };
}

function readSecret(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (cause) {
    throw new PlatformError('validation-failed', `${path} of --oidc-client-secret-file cannot be read`, { cause });
  }
}
