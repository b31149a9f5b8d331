import type { BusSettings } from '@guidon/protocol';
import { type Command, InvalidArgumentError, Option } from 'commander';

/** What `addNatsOptions` reads, as commander names it. */
export interface NatsOptions {
  readonly nats?: readonly string[];
  readonly natsCreds?: string;
  readonly natsCa?: string;
  readonly natsCert?: string;
  readonly natsKey?: string;
  readonly natsDomain?: string;
  readonly natsReplicas?: number;
}

const FILES = [
  ['--nats-creds', 'NKey and JWT to show to NATS', 'GUIDON_NATS_CREDS'],
  ['--nats-ca', 'certificate authorities that NATS is verified with, instead of the system’s', 'GUIDON_NATS_CA'],
  ['--nats-cert', 'certificate to show to NATS', 'GUIDON_NATS_CERT'],
  ['--nats-key', 'key of that certificate', 'GUIDON_NATS_KEY'],
] as const;

/** The options of a process that carries changes over NATS. */
export function addNatsOptions(command: Command): Command {
  command.addOption(
    new Option('--nats <urls>', 'NATS servers with JetStream, separated by commas; without them changes travel by poll')
      .env('GUIDON_NATS_URL')
      .argParser(serversFrom),
  );
  for (const [flag, what, environment] of FILES) {
    command.addOption(new Option(`${flag} <file>`, what).env(environment));
  }
  return command.addOption(
    new Option('--nats-domain <name>', 'JetStream domain of the hub, when --nats names leaf nodes')
      .env('GUIDON_NATS_DOMAIN')
      .argParser((value) => {
        if (!/^[A-Za-z0-9_-]{1,64}$/.test(value)) throw new InvalidArgumentError('Letters, digits, - and _.');
        return value;
      }),
  );
}

/** Of the control plane alone: it makes the stream. */
export function natsReplicas(): Option {
  return new Option('--nats-replicas <count>', 'servers of a NATS cluster that keep each message: 1, 3 or 5')
    .env('GUIDON_NATS_REPLICAS')
    .argParser((value) => {
      if (!/^[135]$/.test(value)) throw new InvalidArgumentError('Give 1, 3 or 5.');
      return Number(value);
    })
    .default(1);
}

/** Undefined without `--nats`. */
export function busSettingsFrom(options: NatsOptions): BusSettings | undefined {
  const { nats, natsCreds, natsCa, natsCert, natsKey, natsDomain, natsReplicas: replicaCount } = options;
  if (nats === undefined) return undefined;
  return {
    servers: nats,
    ...(natsCreds === undefined ? {} : { credsFile: natsCreds }),
    ...(natsCa === undefined ? {} : { caFile: natsCa }),
    ...(natsCert === undefined ? {} : { certFile: natsCert }),
    ...(natsKey === undefined ? {} : { keyFile: natsKey }),
    ...(natsDomain === undefined ? {} : { domain: natsDomain }),
    ...(replicaCount === undefined ? {} : { replicaCount }),
  };
}

function serversFrom(value: string): readonly string[] {
  return value.split(',').map((part) => {
    const server = part.trim();
    const parsed = URL.canParse(server) ? new URL(server) : undefined;
    if (parsed === undefined || !/^(nats|tls):$/.test(parsed.protocol) || parsed.host === '') {
      throw new InvalidArgumentError('Give URLs such as nats://127.0.0.1:4222,nats://127.0.0.1:4223.');
    }
    return server;
  });
}
