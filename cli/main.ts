#!/usr/bin/env node
import { deleteProto, PlatformError } from '@guidon/protocol';
import { Command, InvalidArgumentError, Option } from 'commander';
import { configurable } from './options/configuration.js';
import { addControlPlaneOptions, addProjectOptions, controlPlane } from './options/control-plane-options.js';
import {
  controlPlaneCa,
  publicUrl,
  tlsCert,
  tlsKey,
  trustedProxy,
  upstreamCa,
  webhookAllow,
} from './options/exposure-options.js';
import { addNatsOptions, natsReplicas } from './options/nats-options.js';
import { addOidcOptions } from './options/oidc-options.js';
import { givenText, httpUrl, portNumber, wholeNumber } from './options/parsers.js';

/**
 * The `guidon` command. Each subcommand loads its part only when it runs, so that help and errors stay quick. Options come from
 * flags, then from the environment (GUIDON_…), then from the file that --config names, then from the defaults shown in the help.
 * Exit status: 0 ended as asked, 1 failed, 64 wrong usage, 78 the configuration names something that cannot work.
 */
const EXIT_USAGE = 64;
const EXIT_CONFIG = 78;
/** With what a node needs beside it, the most that the kernel can address. */
const SNAPSHOT_MEMORY_BYTES_MAX = 1536 * 1024 * 1024;

deleteProto();

const MEBIBYTE = 1024 * 1024;
const snapshotMemoryBytes = (value: string): number => {
  const match = /^([1-9][0-9]{0,9})(MiB|GiB)$/.exec(value);
  const bytes = Number(match?.[1]) * (match?.[2] === 'GiB' ? 1024 * MEBIBYTE : MEBIBYTE);
  if (!(bytes <= SNAPSHOT_MEMORY_BYTES_MAX))
    throw new InvalidArgumentError('Give a size such as 512MiB or 1GiB; 1536MiB at most.');
  return bytes;
};
const snapshotMemory = () =>
  new Option('--snapshot-memory <size>', 'memory for snapshots; environments beyond it are loaded when asked for')
    .env('GUIDON_SNAPSHOT_MEMORY')
    .argParser(snapshotMemoryBytes)
    .default(512 * MEBIBYTE, '512MiB');

const cost = (value: string): number => {
  if (!/^(0|[1-9][0-9]{0,8})$/.test(value))
    throw new InvalidArgumentError('Give a whole number from 0 to 999999999; 0 = nothing goes to worker threads.');
  return Number(value);
};
const inlineCostMax = () =>
  new Option(
    '--inline-cost-max <units>',
    'work (about 30 ns each, at worst) up to which a request is evaluated at once; what may cost more goes to worker threads; 0 = nothing does',
  )
    .env('GUIDON_INLINE_COST_MAX')
    .argParser(cost)
    .default(32_768);

const host = () =>
  new Option('--host <address>', 'address to listen on').env('GUIDON_HOST').argParser(givenText).default('127.0.0.1');
const logLevel = () =>
  new Option('--log-level <level>', 'least severe log line to print')
    .env('GUIDON_LOG_LEVEL')
    .choices(['debug', 'info', 'warn', 'error'])
    .default('warn');
const portOption = (flag: string, what: string, environment: string, value: number) =>
  new Option(`${flag} <port>`, what).env(environment).argParser(portNumber).default(value);
const quotas = () =>
  new Option(
    '--quotas <json>',
    'what a tenant, a credential and the whole process may use: {"tenant":{"requestsPerSecond":1000,…},"credential":{…},"node":{…}}',
  ).env('GUIDON_QUOTAS');
const data = (folder: string) =>
  new Option('--data <folder>', 'where everything is kept').env('GUIDON_DATA').argParser(givenText).default(folder);

const hangSeconds = (what: string) =>
  new Option('--hang-seconds <count>', what).env('GUIDON_HANG_SECONDS').argParser(wholeNumber(1, 600)).default(10);
const trustRoot = (what: string) => new Option('--trust-root <fingerprint>', what).env('GUIDON_TRUST_ROOT');
/** What every data-plane node has, whoever feeds it. */
const addNodeOptions = (command: Command): Command =>
  command
    .addOption(host())
    .addOption(portOption('--port', 'evaluate API', 'GUIDON_PORT', 4300))
    .addOption(portOption('--metrics-port', 'health and metrics', 'GUIDON_METRICS_PORT', 4301))
    .addOption(
      new Option(
        '--downstream-credential-file <file>',
        'credentials (gdn_node_…, one a line) of edges that this node feeds; made with one in it unless it exists',
      )
        .env('GUIDON_DOWNSTREAM_CREDENTIAL_FILE')
        .argParser(givenText),
    )
    .addOption(snapshotMemory())
    .addOption(inlineCostMax())
    .addOption(quotas())
    .addOption(
      new Option('--processes <count>', 'processes that share the port, 1 to 64: one for each core that does I/O')
        .env('GUIDON_PROCESSES')
        .argParser(wholeNumber(1, 64))
        .default(1),
    )
    .addOption(hangSeconds('with several processes: replace one that answers nothing for so long'))
    .addOption(tlsCert())
    .addOption(tlsKey())
    .addOption(trustedProxy('addresses of the proxy in front that speaks TLS; says that --host may be open to it'))
    .addOption(logLevel());

const IN_FRONT_OF_ADMIN = 'addresses of the proxy in front that speaks TLS: whose X-Forwarded-* headers count';

const program = new Command('guidon')
  .description('A multi-tenant feature-flag platform.')
  .version('0.1.0')
  .addHelpText(
    'after',
    '\nExit status: 0 ended as asked, 1 failed, 64 wrong usage, 78 the configuration names something that cannot work.',
  )
  .exitOverride();

program
  .command('dev')
  .description('control plane and data plane in one process, with a demo tenant; nothing else to install')
  .addOption(data('./data'))
  .addOption(host())
  .addOption(portOption('--admin-port', 'admin API; the next free port when taken', 'GUIDON_ADMIN_PORT', 4200))
  .addOption(portOption('--port', 'evaluate API; the next free port when taken', 'GUIDON_PORT', 4300))
  .addOption(
    portOption('--metrics-port', 'health and metrics; the next free port when taken', 'GUIDON_METRICS_PORT', 4301),
  )
  .addOption(snapshotMemory())
  .addOption(inlineCostMax())
  .addOption(quotas())
  .addOption(trustedProxy(IN_FRONT_OF_ADMIN))
  .addOption(webhookAllow())
  .addOption(logLevel())
  .action(async (options) => (await import('./run/dev.js')).runDev(options));

addOidcOptions(addNatsOptions(program.command('control-plane')))
  .description('the admin API and the only writer of the store')
  .addOption(natsReplicas())
  .addOption(data('./data/control-plane'))
  .addOption(host())
  .addOption(portOption('--port', 'admin API and the feed for nodes', 'GUIDON_ADMIN_PORT', 4200))
  .addOption(
    new Option('--metrics-port <port>', 'health and metrics; default: the one after --port, or the next free one')
      .env('GUIDON_METRICS_PORT')
      .argParser(portNumber),
  )
  .addOption(
    new Option('--no-supervisor', 'work in this process: somebody else starts it anew when it ends').env(
      'GUIDON_NO_SUPERVISOR',
    ),
  )
  .addOption(hangSeconds('replace the process that works when it answers nothing for so long'))
  .addOption(
    new Option(
      '--canary-seconds <count>',
      'nodes with --canary serve each revision for so long before the others get it; 0: all get it at once',
    )
      .env('GUIDON_CANARY_SECONDS')
      .argParser(wholeNumber(0, 86_400))
      .default(0),
  )
  .addOption(
    new Option(
      '--node-credential-file <file>',
      'write a credential for data-plane nodes here unless the file exists',
    ).env('GUIDON_NODE_CREDENTIAL_FILE'),
  )
  .addOption(tlsCert())
  .addOption(tlsKey())
  .addOption(publicUrl())
  .addOption(trustedProxy(IN_FRONT_OF_ADMIN))
  .addOption(webhookAllow())
  .addOption(logLevel())
  .action(async (options) => (await import('./run/control-plane.js')).runControlPlane(options));

addNodeOptions(addNatsOptions(program.command('server')))
  .description('a data-plane node, fed by a control plane over HTTP, and told of changes by NATS')
  .addOption(
    new Option('--control-plane <url>', 'where the control plane answers')
      .env('GUIDON_CONTROL_PLANE_URL')
      .argParser(httpUrl)
      .makeOptionMandatory(),
  )
  .addOption(
    new Option('--node-credential-file <file>', 'file with the node credential (gdn_node_…)')
      .env('GUIDON_NODE_CREDENTIAL_FILE')
      .makeOptionMandatory(),
  )
  .addOption(trustRoot('root key to trust; without it the first one seen is pinned'))
  .addOption(controlPlaneCa())
  .addOption(
    new Option('--canary', 'take each revision before the others, where the control plane has --canary-seconds').env(
      'GUIDON_CANARY',
    ),
  )
  .addOption(data('./data/node'))
  .action(async (options) => (await import('./run/server.js')).runServer(options));

addNodeOptions(program.command('edge'))
  .description('a data-plane node that is fed by another node or edge, and believes of it what is signed')
  .addOption(
    new Option('--upstream <url>', 'evaluate API of the node or edge that feeds this one')
      .env('GUIDON_UPSTREAM_URL')
      .argParser(httpUrl)
      .makeOptionMandatory(),
  )
  .addOption(
    new Option('--node-credential-file <file>', 'file with a credential of the upstream’s --downstream-credential-file')
      .env('GUIDON_NODE_CREDENTIAL_FILE')
      .makeOptionMandatory(),
  )
  .addOption(trustRoot('root key to trust, as the control plane prints it').makeOptionMandatory())
  .addOption(upstreamCa())
  .addOption(data('./data/edge'))
  .action(async (options) => (await import('./run/server.js')).runEdge(options));

for (const command of program.commands) configurable(command);

program
  .command('break-glass')
  .description(
    'print a token of an installation admin that ends in an hour; needs to read the data of the control plane',
  )
  .addOption(data('./data/control-plane'))
  .addOption(controlPlane('where the control plane answers, on this machine or another'))
  .addOption(new Option('--reason <text>', 'why; kept in the audit log').argParser(givenText).makeOptionMandatory())
  .action(async (options) => (await import('./run/break-glass.js')).runBreakGlass(options));

addControlPlaneOptions(program.command('status'), 'an installation admin')
  .description('the bus, and every node with how far it is; exit status 1 when something is not as it should be')
  .action(async (options) => {
    process.exitCode = await (await import('./status.js')).runStatus(options);
  });

addProjectOptions(program.command('flags').description('what there is to know of flags').command('usage'))
  .description('which flags are evaluated and which are asked for but not there; with a flag, by variation')
  .argument('[flag]', 'key of one flag')
  .addOption(
    new Option('--environment <key>', 'key of the environment')
      .env('GUIDON_ENVIRONMENT')
      .argParser(givenText)
      .makeOptionMandatory(),
  )
  .addOption(new Option('--output <form>', 'how to print it').choices(['table', 'json']).default('table'))
  .action(async (flag, options) => {
    process.exitCode = await (await import('./flags/usage.js')).runFlagsUsage(flag, options);
  });

addProjectOptions(program.command('typegen'))
  .description('write the flags of a project as types, so that the SDKs refuse misspelt keys and wrong defaults')
  .addOption(
    new Option('--output <file>', 'module to write, such as flags.d.ts').argParser(givenText).makeOptionMandatory(),
  )
  .action(async (options) => {
    process.exitCode = await (await import('./typegen/typegen.js')).runTypegen(options);
  });

program
  .command('audit')
  .description('check an audit log offline')
  .command('verify')
  .description(
    'check that an NDJSON export is unbroken and goes on from a tree head kept earlier; exit status 1 when not',
  )
  .argument('<export>', 'file from GET …/audit/export')
  .option('--head <file>', 'answer of GET …/audit/tree-head kept earlier; without it a cut end does not show')
  .addOption(
    new Option('--trust-root <fingerprint>', 'root key that the head must lead back to').env('GUIDON_TRUST_ROOT'),
  )
  .action(async (file, options) => {
    process.exitCode = await (await import('./audit/verify.js')).runAuditVerify(file, options);
  });

const keys = program.command('keys').description('the keys that configuration is signed with, and their rotation');
addControlPlaneOptions(keys.command('list'), 'an installation admin')
  .description('which key signs, which comes next, which have signed')
  .action(async (options) => (await import('./admin/keys.js')).runKeysList(options));
addControlPlaneOptions(keys.command('introduce'), 'an installation admin')
  .description('make the next key; nodes learn of it within a minute, nothing is signed with it yet')
  .action(async (options) => (await import('./admin/keys.js')).runKeysIntroduce(options));
addControlPlaneOptions(keys.command('activate'), 'an installation admin')
  .description('sign with the next key from now on; what the one before has signed holds')
  .action(async (options) => (await import('./admin/keys.js')).runKeysActivate(options));
addControlPlaneOptions(keys.command('revoke'), 'an installation admin')
  .description('trust nothing that this key has ever signed; for a key that others may have')
  .argument('<id>', 'as `guidon keys list` shows it')
  .action(async (id, options) => (await import('./admin/keys.js')).runKeysRevoke(id, options));

program
  .command('backup')
  .description('copy the store of a control plane, running or not, into one file')
  .addOption(data('./data/control-plane'))
  .addOption(new Option('--out <file>', 'the backup; must not exist yet').argParser(givenText).makeOptionMandatory())
  .option('--with-keys', 'put the private keys into it, too: whoever has the file can then sign for this installation')
  .action(async (options) => (await import('./run/backup.js')).runBackup(options));

program
  .command('restore')
  .description('verify a backup, then put it in the place of the store of a control plane that is not running')
  .argument('<backup>', 'file from guidon backup')
  .addOption(data('./data/control-plane'))
  .addOption(new Option('--trust-root <fingerprint>', 'root key that it must lead back to').env('GUIDON_TRUST_ROOT'))
  .addOption(
    new Option('--epoch-above <number>', 'an epoch that nodes have seen, when the store that is replaced is not here')
      .argParser(wholeNumber(0, 1_000_000_000))
      .default(0),
  )
  .option('--check', 'only verify and say what it would mean')
  .action(async (file, options) => (await import('./run/restore.js')).runRestore(file, options));

program
  .command('compact')
  .description('write the store of a control plane that is not running anew, without unused pages')
  .addOption(data('./data/control-plane'))
  .action(async (options) => (await import('./run/compact.js')).runCompact(options));

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitStatusOf(error);
  // Commander has printed its own sentence already.
  if (!isCommanderError(error)) console.error(`guidon: ${error instanceof Error ? error.message : String(error)}`);
}

function exitStatusOf(error: unknown): number {
  if (isCommanderError(error)) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  // What a child process failed at comes as `internal` when it is nothing that its operator set.
  return error instanceof PlatformError && error.code !== 'internal' ? EXIT_CONFIG : 1;
}

function isCommanderError(error: unknown): error is { exitCode: number } {
  return error instanceof Error && 'exitCode' in error && String(Reflect.get(error, 'code')).startsWith('commander.');
}
