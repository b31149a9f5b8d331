import type { Answer, CallOptions, TestControlPlane } from './control-plane.js';

/** What a browser adds to the requests of a page of the control plane: cookies, where it comes from, and the token the page was given. */
export class Browser {
  readonly #plane: TestControlPlane;
  readonly cookies = new Map<string, string>();
  csrfToken = '';

  constructor(plane: TestControlPlane) {
    this.#plane = plane;
  }

  get cookie(): string {
    return [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  }

  async call(method: string, path: string, options: CallOptions = {}): Promise<Answer> {
    const answer = await this.#plane.call(method, path, {
      ...options,
      token: options.token ?? null,
      headers: {
        ...(this.cookies.size === 0 ? {} : { cookie: this.cookie }),
        ...(method === 'GET' ? {} : { 'x-csrf-token': this.csrfToken, 'sec-fetch-site': 'same-origin' }),
        ...options.headers,
      },
    });
    for (const text of answer.headers['set-cookie'] ?? []) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(text) ?? [];
      if (/Max-Age=0/.test(text)) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    if (typeof answer.body?.csrfToken === 'string') this.csrfToken = answer.body.csrfToken;
    return answer;
  }

  login(email: string, password: string, options: CallOptions = {}): Promise<Answer> {
    return this.call('POST', '/api/v1/login', { body: { email, password }, ...options });
  }
}

export const ADA = { email: 'Ada@Example.com', password: 'correct horse battery' } as const;

/** Ada sets the installation up, and is its admin. */
export async function setUpAda(plane: TestControlPlane): Promise<Answer> {
  const token = plane.running.setupUrl?.split('#')[1];
  return plane.must('POST', '/api/v1/setup', { token: null, body: { token, name: 'Ada', ...ADA } });
}
