import { isIP } from 'node:net';
import { PlatformError } from '@guidon/protocol';
import type { AddressRules } from './address-rules.js';

export const URL_CHARS_MAX = 2_048;
/** Ports at which somebody who answers HTTPS is expected. Others, and plain HTTP, are for addresses that the operator has allowed. */
const PUBLIC_PORTS: ReadonlySet<string> = new Set(['', '443', '8443']);

/** The host as sockets take it: without the brackets of an IPv6 address. */
export function hostOf({ hostname }: { readonly hostname: string }): string {
  return hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
}

/** HTTPS at a port for it: may go to public addresses. Everything else must be allowed by the operator. */
export function isPublicForm({ protocol, port }: { readonly protocol: string; readonly port?: string }): boolean {
  return protocol === 'https:' && PUBLIC_PORTS.has(port ?? '');
}

/**
 * The URL of `text`, in its normal form; throws `bad-webhook-url`. What the name leads to is decided when it is connected to
 * (`guarded-agent.ts`): here only what can be seen without asking anybody is refused.
 */
export function parseWebhookUrl(text: string, rules: AddressRules, pointer = '/url'): URL {
  const refuse = (detail: string): PlatformError =>
    new PlatformError('bad-webhook-url', detail, { issues: [{ pointer, code: 'bad-webhook-url', detail }] });
  if (text.length > URL_CHARS_MAX) throw refuse(`a URL has at most ${URL_CHARS_MAX} characters`);
  // A parser drops tabs and turns look-alikes into ASCII: what people read must be what is called.
  if (!/^[!-[\]-~]+$/.test(text)) throw refuse('write the URL in ASCII, without spaces and backslashes');
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) throw refuse('this is no URL');
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && rules.hasAllowed)) throw refuse('use https');
  if (url.username !== '' || url.password !== '') throw refuse('a URL holds no name and password');
  if (url.hash !== '') throw refuse('a URL that is called has no fragment');
  const host = hostOf(url);
  if (host === '' || host.endsWith('.')) throw refuse('the host must not end with a dot');
  if (isIP(host) === 0 && !host.includes('.') && !rules.hasAllowed) throw refuse('the host must be a full name');
  const verdict = isIP(host) === 0 ? undefined : rules.judge(host);
  if (verdict === 'refused') throw refuse('the address is not public');
  if (!isPublicForm(url) && (!rules.hasAllowed || verdict === 'public')) throw refuse('use port 443 or 8443');
  return url;
}
