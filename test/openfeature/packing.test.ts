import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { OpenFeatureNode } from '../support/openfeature-node.js';
import { PackedProject } from '../support/packed-project.js';

/** The providers as they would be published, beside the SDKs of OpenFeature that somebody has already. */
const PROVIDERS = ['sdk/openfeature-server', 'sdk/openfeature-web'];
const OURS = ['protocol', 'engine', 'assembly', 'sdk/core', 'sdk/server', 'sdk/browser', ...PROVIDERS];
const BROUGHT = ['ws', 're2js', '@openfeature/core', '@openfeature/server-sdk', '@openfeature/web-sdk'];
/** The declarations of OpenFeature's SDK name types of Node, which an empty project has not. */
const FLAGS = ['--skipLibCheck'];

let packed: PackedProject;

beforeAll(async () => {
  packed = await PackedProject.create(OURS, BROUGHT);
}, 120_000);
afterAll(() => packed.remove());

describe('the providers', () => {
  test.each(PROVIDERS)('publint and attw find nothing wrong with %s', (name) => packed.checkPackage(name), 120_000);

  test('the one for servers works without OpenTelemetry, which is optional', async () => {
    const platform = await OpenFeatureNode.start();
    const source = `import { GuidonProvider } from '@guidon/openfeature-server';
import { createClient } from '@guidon/server-sdk';
import { OpenFeature } from '@openfeature/server-sdk';
await OpenFeature.setProviderAndWait(new GuidonProvider(createClient()));
console.log(await OpenFeature.getClient().getNumberValue('number', 0, { targetingKey: 'u1' }));
await OpenFeature.close();
`;
    const printed = await packed.checkAndRun(
      'server',
      source,
      { GUIDON_URL: platform.url, GUIDON_KEY: platform.srv, GUIDON_TRUST_ROOT: platform.feed.trustRoot },
      FLAGS,
    );
    await platform.stop();
    expect(printed).toBe('2.5\n');
  }, 120_000);

  test('the one for the web has types that are held to, and options of the browser SDK', async () => {
    const source = `import { GuidonWebProvider } from '@guidon/openfeature-web';
import { OpenFeature } from '@openfeature/web-sdk';
const provider = new GuidonWebProvider({ url: 'https://flags.example.com', key: 'gdn_web_x', pollSeconds: 30 });
OpenFeature.setProvider(provider);
`;
    await packed.check('web', source, FLAGS);
    const wrong = source.replace('pollSeconds: 30', "context: { targetingKey: 'u1' }");
    await expect(packed.check('wrong', wrong, FLAGS)).rejects.toThrow(/error TS/);
  }, 120_000);
});
