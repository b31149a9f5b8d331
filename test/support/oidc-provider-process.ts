import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** How long the provider may take to say what is waited for, milliseconds. */
const ANSWER_MS_MAX = 30_000;
const HOPS_MAX = 12;

/** A real OpenID provider on the loopback (oidc-provider.mjs), ended by `stop()`. */
export class OidcProviderProcess {
  readonly issuer: string;
  readonly #child: ChildProcess;

  static async start(): Promise<OidcProviderProcess> {
    const path = fileURLToPath(new URL('oidc-provider.mjs', import.meta.url));
    // It warns about this release of Node and about keys made for tests: nobody here reads that.
    const child = fork(path, { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    const { issuer } = await messageOf(child);
    return new OidcProviderProcess(child, String(issuer));
  }

  private constructor(child: ChildProcess, issuer: string) {
    this.#child = child;
    this.issuer = issuer;
  }

  /** Knows one client from now on. */
  async serve(client: { clientId: string; clientSecret: string; redirectUri: string }): Promise<void> {
    const answer = messageOf(this.#child);
    this.#child.send(client);
    await answer;
  }

  /** What a browser does at the provider as `account`: the URL that it is sent back to. */
  async logIn(authorizationUrl: string, account: string): Promise<URL> {
    const cookies = new Map<string, string>();
    let url = new URL(authorizationUrl);
    url.searchParams.set('login_hint', account);
    for (let hop = 0; hop < HOPS_MAX; hop += 1) {
      const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
      const response = await fetch(url, { redirect: 'manual', headers: { cookie } });
      for (const text of response.headers.getSetCookie()) {
        const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(text) ?? [];
        cookies.set(name, value);
      }
      const location = response.headers.get('location');
      if (location === null) throw new Error(`the provider answered ${response.status}: ${await response.text()}`);
      url = new URL(location, url);
      if (url.origin !== this.issuer) return url;
    }
    throw new Error('the provider did not send the browser back');
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}

async function messageOf(child: ChildProcess): Promise<Record<string, unknown>> {
  const [message] = await once(child, 'message', { signal: AbortSignal.timeout(ANSWER_MS_MAX) });
  return message;
}
