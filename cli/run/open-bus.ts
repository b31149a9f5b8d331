import { accessSync, constants } from 'node:fs';
import { type BusSettings, type ChangeBus, PlatformError } from '@guidon/protocol';
import type { EventCarrier, EventFeed } from '@guidon/protocol/events';
import type { Logger } from 'pino';

/** A bus that connects when it is first used. NATS is loaded here only, so that who does without it has no part of it. */
export async function openBus(settings: BusSettings, logger: Logger, isPublisher = false): Promise<ChangeBus> {
  const { NatsBus } = await import('./nats-bus.js');
  return new NatsBus({ ...settings, isPublisher, logger });
}

/** The way of events on the same servers; it connects when it is first used. */
export async function openEvents(settings: BusSettings, logger: Logger): Promise<EventCarrier & EventFeed> {
  const { NatsEvents } = await import('./nats-events.js');
  return new NatsEvents({ ...settings, logger });
}

/** Refuses what cannot work before anything is started: unreadable files, and servers that answer but cannot carry the bus. */
export async function checkBus(settings: BusSettings, logger: Logger): Promise<void> {
  for (const [flag, file] of [
    ['--nats-creds', settings.credsFile],
    ['--nats-ca', settings.caFile],
    ['--nats-cert', settings.certFile],
    ['--nats-key', settings.keyFile],
  ] as const) {
    if (file !== undefined) assertReadable(flag, file);
  }
  if ((settings.certFile === undefined) !== (settings.keyFile === undefined)) {
    throw new PlatformError('validation-failed', 'give --nats-cert and --nats-key together');
  }
  const { NatsBus } = await import('./nats-bus.js');
  await NatsBus.check(settings, logger);
}

function assertReadable(flag: string, file: string): void {
  try {
    accessSync(file, constants.R_OK);
  } catch (cause) {
    throw new PlatformError('validation-failed', `${flag}: ${file} cannot be read`, { cause });
  }
}
