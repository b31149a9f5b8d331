import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { PlatformError } from '@guidon/protocol';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { FileBody } from '../admin-api/file-body.js';
import { keySchema, tenantParams } from '../admin-api/params.js';
import { registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { getTenant } from '../tenants/tenant-read-model.js';
import { tenantSchema } from '../tenants/tenant-view.js';
import { exportTenant } from './export-tenant.js';
import { importTenant } from './import-tenant.js';

const GZIP = 'application/gzip';
const ARCHIVE_BYTES_MAX = 1024 * 1024 * 1024;

/** An archive as it was received, in a folder of its own for as long as its request runs. */
class SpooledArchive {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  get path(): string {
    return join(this.directory, 'archive');
  }
}

/** A tenant as one file, and back. */
export function registerArchiveFileRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  registerRoute(app, {
    method: 'GET',
    url: '/api/v1/tenants/:tenantId/export',
    operationId: 'exportTenant',
    tag: 'tenants',
    summary:
      'Everything of a tenant as one archive: settings, definitions, every revision kept, the audit log with its signed head',
    description:
      'NDJSON in gzip, sealed by this installation. Without secrets: keys have to be made anew where it is imported.',
    action: 'tenant.export',
    params: tenantParams,
    fileTypes: [GZIP],
    replies: { 200: z.string().describe('The archive') },
    handle: ({ params: { tenantId } }) => {
      getTenant(core.store, tenantId);
      const chunks = exportTenant(core, tenantId);
      return { status: 200, body: new FileBody({ contentType: GZIP, name: `tenant-${tenantId}.ndjson.gz`, chunks }) };
    },
  });

  // A scope of its own: only here a body may be a file.
  void app.register(async (scope) => {
    scope.addContentTypeParser(GZIP, spool);
    scope.addHook('onResponse', discard);
    scope.addHook('onRequestAbort', discard);
    registerRoute(scope, {
      method: 'POST',
      url: '/api/v1/tenants/import',
      operationId: 'importTenant',
      tag: 'tenants',
      summary: 'Make a tenant from an archive; nobody changes buckets',
      description:
        'All of the archive is verified before anything is written. Its keys and credentials come revoked; its audit log stays in the archive, ' +
        'and the new one begins with its head.',
      action: 'tenant.import',
      params: z.object({}),
      query: z.strictObject({
        ids: z.enum(['new', 'same']).default('new').describe('`same` is refused when one of them is taken'),
        key: keySchema.optional().describe('Of the tenant, when it shall be another one'),
        trustRoot: z.string().max(64).optional().describe('Of the installation that made it, when it is not this one'),
      }),
      body: z
        .custom<SpooledArchive>((value) => value instanceof SpooledArchive)
        .meta({ type: 'string', format: 'binary' }),
      consumes: [GZIP],
      bodyBytesMax: ARCHIVE_BYTES_MAX,
      replies: { 201: tenantSchema },
      handle: ({ body, query: { ids, key, trustRoot }, write }) =>
        importTenant(core, write, body.path, { ids, key, trustRoot }),
    });
  });
}

/** Folders of requests that are under way. */
const spooled = new WeakMap<FastifyRequest, SpooledArchive>();

async function spool(request: FastifyRequest, payload: NodeJS.ReadableStream): Promise<SpooledArchive> {
  const archive = new SpooledArchive(await mkdtemp(join(tmpdir(), 'guidon-import-')));
  spooled.set(request, archive);
  const digest = createHash('sha256');
  let bytes = 0;
  const counted = new Transform({
    transform(chunk: Buffer, _, done) {
      bytes += chunk.length;
      digest.update(chunk);
      const isTooMuch = bytes > ARCHIVE_BYTES_MAX;
      done(isTooMuch ? new PlatformError('payload-too-large', 'an archive has at most 1 GiB') : null, chunk);
    },
  });
  await pipeline(payload, counted, createWriteStream(archive.path, { mode: 0o600 }));
  request.bodyDigest = digest.digest('hex');
  return archive;
}

async function discard(request: FastifyRequest): Promise<void> {
  const archive = spooled.get(request);
  if (archive !== undefined) await rm(archive.directory, { recursive: true, force: true });
}
