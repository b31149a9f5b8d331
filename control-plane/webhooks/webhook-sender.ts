import type { Agent } from 'undici';
import type { RenderedMessage } from './render-message.js';
import type { SecretBox } from './secret-box.js';
import { type AttemptResult, type OutgoingRequest, sendRequest } from './send-request.js';
import { signatureHeaders } from './sign-message.js';
import { sealOwnerOf, shownUrlOf, type WebhookRecord } from './webhook-record.js';

const USER_AGENT = 'Guidon-Webhooks/1';

/** What went out, without what authorises (an address that is a secret is one), and what came of it. */
export interface SentMessage {
  readonly request: OutgoingRequest;
  readonly result: AttemptResult;
}

/** Signs messages with the secrets of their endpoint and sends them. */
export class WebhookSender {
  readonly #agent: Agent;
  readonly #box: SecretBox;
  readonly #now: () => number;

  constructor(options: { readonly agent: Agent; readonly box: SecretBox; readonly now: () => number }) {
    this.#agent = options.agent;
    this.#box = options.box;
    this.#now = options.now;
  }

  /** Never rejects. */
  async send(
    webhook: WebhookRecord,
    message: RenderedMessage,
    options: { readonly deadlineMs?: number; readonly signal?: AbortSignal } = {},
  ): Promise<SentMessage> {
    const owner = sealOwnerOf(webhook);
    const now = this.#now();
    const secrets = webhook.secrets
      .filter(({ notAfter }) => notAfter === null || notAfter > now)
      .map(({ sealed }) => this.#box.open(sealed, owner));
    const { authorization } = webhook;
    const credential = authorization === null ? undefined : this.#box.open(authorization.sealed, owner);
    const known = secrets.filter((secret) => secret !== undefined);
    const headers = { 'user-agent': USER_AGENT, ...message.headers, ...signatureHeaders(message, known, now) };
    const request = { method: message.method, url: shownUrlOf(webhook), headers, body: message.body };
    if (known.length < secrets.length || (authorization !== null && credential === undefined)) {
      const detail = 'the secret was sealed with another key: rotate it';
      return { request, result: { outcome: 'secret-unreadable', latencyMs: 0, detail } };
    }
    const authorised = authorization === null ? headers : { ...headers, [authorization.header]: credential ?? '' };
    const whole = { ...request, url: webhook.url, headers: authorised };
    const result = await sendRequest(this.#agent, whole, { ...options, now: this.#now });
    return { request, result };
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }
}
