import type { FlagDefinition } from '@guidon/engine';
import { InProcessChangeBus, type Json } from '@guidon/protocol';
import type { ServerOptions } from '@guidon/server';
import { aFlag } from './flag-sets.js';
import {
  type RunningNode,
  removeTemporaryDirectories,
  startNode,
  untilAccepted,
  untilCurrent,
} from './running-node.js';
import { type FeedEnvironment, SignedFeedServer } from './signed-feed-server.js';

/** A node with a flag of every type and every outcome that OpenFeature names, and keys of both kinds. */
export class OpenFeatureNode {
  readonly feed: SignedFeedServer;
  readonly environment: FeedEnvironment;
  readonly node: RunningNode;
  readonly srv: string;

  static async start(options: Partial<ServerOptions> = {}): Promise<OpenFeatureNode> {
    const feed = new SignedFeedServer();
    feed.bus = new InProcessChangeBus();
    await feed.start();
    const environment = feed.addEnvironment('main');
    await environment.publish(FLAGS);
    const srv = await environment.issueCredential('srv');
    const started = new OpenFeatureNode(feed, environment, await startNode(feed, options), srv);
    await untilCurrent(started.node, environment);
    await untilAccepted(started.node, srv);
    return started;
  }

  private constructor(feed: SignedFeedServer, environment: FeedEnvironment, node: RunningNode, srv: string) {
    this.feed = feed;
    this.environment = environment;
    this.node = node;
    this.srv = srv;
  }

  get url(): string {
    return this.node.server.url;
  }

  /** A client key for pages of `origin`, in force. */
  async webKey(origin: string): Promise<string> {
    const key = await this.environment.issueCredential('web', { allowedOrigins: [origin] });
    await untilAccepted(this.node, key);
    return key;
  }

  /** Replaces flags, and resolves when the node serves them. */
  async change(flags: readonly FlagDefinition[]): Promise<void> {
    await this.environment.publish(flags);
    await untilCurrent(this.node, this.environment);
  }

  async stop(): Promise<void> {
    await this.node.stop();
    await this.feed.stop();
    await removeTemporaryDirectories();
  }
}

const two = (on: Json, off: Json) => ({
  clientSide: true,
  variations: [
    { key: 'on', value: on },
    { key: 'off', value: off },
  ],
  fallthrough: { variation: 'on' },
});

const isDutch = { attribute: 'country', op: 'in', values: ['NL'] } as const;

/** `<type>`: STATIC with the variation `on`; the others are named for what they come to. */
export const FLAGS: readonly FlagDefinition[] = [
  aFlag('boolean', { ...two(true, false), type: 'boolean' }),
  aFlag('string', two('shown', 'hidden')),
  aFlag('number', { ...two(2.5, 0), type: 'number' }),
  aFlag('object', { ...two({ deep: [1, { é: '漢🌍' }] }, {}), type: 'json' }),
  aFlag('disabled', { ...two('shown', 'hidden'), on: false }),
  aFlag('ruled', { ...two('other', 'off'), rules: [{ id: 'dutch', when: isDutch, serve: { variation: 'off' } }] }),
  aFlag('split', {
    ...two('shown', 'hidden'),
    fallthrough: { rollout: { weights: [{ variation: 'on', weight: 100_000 }] } },
  }),
  aFlag('future', { ...two('shown', 'hidden'), requires: ['from-the-future'] }),
];

/** `flagsChanged` of an event, whose type depends on which one it is. */
export function flagsIn(details: object | undefined): string[] | undefined {
  const flags: unknown = details !== undefined && 'flagsChanged' in details ? details.flagsChanged : undefined;
  return Array.isArray(flags) ? flags.map(String) : undefined;
}
