import type { FastifyInstance } from 'fastify';
import type { ControlPlaneCore } from '../core.js';
import type { Propagation } from '../nodes/propagation.js';
import { AddressRules } from './address-rules.js';
import { registerDeliveryRoutes } from './delivery-routes.js';
import { Dispatcher } from './dispatcher.js';
import type { DispatchClock } from './endpoint-lane.js';
import { createGuardedAgent } from './guarded-agent.js';
import { SecretBox } from './secret-box.js';
import { registerWebhookRoutes } from './webhook-routes.js';
import { WebhookSender } from './webhook-sender.js';
import { WebhookService } from './webhook-service.js';

export interface WebhooksOptions {
  /** Of the installation's keys. */
  readonly keyDirectory: string;
  /** Addresses and CIDR ranges that may be called although they are not public. */
  readonly allow: readonly string[];
  readonly propagation: Propagation;
  readonly clock?: DispatchClock | undefined;
}

/** Everything about webhooks, made once: what sends, and its routes. */
export class Webhooks {
  readonly dispatcher: Dispatcher;
  readonly #core: ControlPlaneCore;
  readonly #service: WebhookService;

  constructor(core: ControlPlaneCore, { keyDirectory, allow, propagation, clock }: WebhooksOptions) {
    const rules = new AddressRules(allow);
    const box = new SecretBox(keyDirectory);
    const sender = new WebhookSender({ agent: createGuardedAgent(rules), box, now: core.now });
    this.#core = core;
    this.#service = new WebhookService(core, { box, rules });
    this.dispatcher = new Dispatcher(core, { sender, propagation, ...(clock === undefined ? {} : { clock }) });
  }

  register(routes: FastifyInstance): void {
    registerWebhookRoutes(routes, this.#core, this.#service);
    registerDeliveryRoutes(routes, this.#core, { service: this.#service, dispatcher: this.dispatcher });
  }
}
