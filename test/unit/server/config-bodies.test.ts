import { decodeServerText, type Position } from '@guidon/protocol/live-updates';
import { hashDefinition, parseManifest, type Signed } from '@guidon/protocol/signed-config';
import { ConfigBodies } from '@guidon/server/config/config-bodies.js';
import { ConfigView } from '@guidon/server/config/config-view.js';
import { EnvironmentSlot } from '@guidon/server/environment-slot.js';
import { expect, test } from 'vitest';
import { aFlag } from '../../support/flag-sets.js';
import { SignedFeedServer } from '../../support/signed-feed-server.js';

test('a frame that was made stays no longer than its manifest: who comes after that was signed anew is sent the younger one', async () => {
  const feed = new SignedFeedServer();
  const environment = feed.addEnvironment('own');
  await environment.publish([aFlag('a')]);
  await environment.publish([aFlag('b')]);
  let signed: Signed = environment.signed();
  const definitions = new Map(
    (environment.message(0).delta?.changed ?? []).map((bytes) => [
      Buffer.from(hashDefinition(bytes)).toString('hex'),
      bytes,
    ]),
  );
  const slot = new EnvironmentSlot(environment.ref, 0);
  slot.keepCold({ epoch: 1, revision: 1, digest: '' });
  const view = new ConfigView(slot, {
    findSigned: () => signed,
    index: () => new Map([...definitions.keys()].map((hash) => [`flag\0${hash}`, hash])),
    findDefinitions: (hashes) => hashes.flatMap((hash) => definitions.get(hash) ?? []),
  });
  signed = environment.sign({ revision: 1 });
  expect(view.refresh()).toBe(true);
  signed = environment.sign({ revision: 2 });
  slot.keepCold({ epoch: 1, revision: 2, digest: environment.digest });
  expect(view.refresh()).toBe(true);
  const bodies = new ConfigBodies();
  const signatureIn = async (since: Position | undefined): Promise<string> => {
    const { bytes } = await bodies.frame(view, since, 'json');
    const message = decodeServerText(Buffer.from(bytes).toString());
    if (!('config' in message)) throw new Error('it is no config');
    expect(parseManifest(message.config.signed.document).revision).toBe(2);
    return Buffer.from(message.config.signed.signature).toString('hex');
  };
  const sinceAll = [undefined, { epoch: 1, revision: 1 }];
  const signatures = () => Promise.all(sinceAll.map(signatureIn));
  const first = Buffer.from(signed.signature).toString('hex');
  expect(await signatures()).toEqual([first, first]);
  // The key was revoked, or the time of the manifest is half over.
  feed.rotateSigningKey();
  signed = environment.sign({ revision: 2 });
  slot.renewalCount += 1;
  expect(view.refresh()).toBe(false);
  const second = Buffer.from(signed.signature).toString('hex');
  expect(await signatures()).toEqual([second, second]);
  expect(second).not.toBe(first);
});
