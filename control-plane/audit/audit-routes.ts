import type { TenantId } from '@guidon/protocol';
import type { TreeHead } from '@guidon/protocol/audit-proof';
import { encodeSigned } from '@guidon/protocol/msgpack';
import type { Signed } from '@guidon/protocol/signed-config';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { FileBody } from '../admin-api/file-body.js';
import { listPage, listQuerySchema, pageSchema } from '../admin-api/pagination.js';
import { tenantParams, timestampSchema } from '../admin-api/params.js';
import type { Action } from '../admin-api/policy.js';
import { registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { INSTALLATION, keys, type Scope } from '../store/keys.js';
import { getTenant } from '../tenants/tenant-read-model.js';
import type { AuditEntry, AuditRow } from './audit-entry.js';
import { EXPORT_FORMATS, EXPORT_TYPES, exportLog } from './audit-export.js';
import { auditFilterShape, matchesFilter } from './audit-filter.js';
import { currentTreeHead, proveEntry, proveGrowth } from './audit-proofs.js';
import { signedHeadOf, type TreeHeadRow } from './tree-heads.js';

const auditEntrySchema = z
  .object({
    sequence: z.int(),
    hash: z.string().describe('SHA-256 over 0x00 and `text`'),
    text: z.string().describe('The entry exactly as it was hashed'),
    at: timestampSchema,
    actor: z.object({
      kind: z.string(),
      credentialId: z.string().describe('Of the token or session'),
      name: z.string(),
      personId: z.string().optional(),
    }),
    requestId: z.string(),
    from: z.object({ address: z.string(), userAgent: z.string() }).optional(),
    action: z.string(),
    subject: z.string(),
    summary: z.string(),
    comment: z.string(),
    diff: z
      .array(
        z.object({
          op: z.string(),
          pointer: z.string(),
          before: z.unknown().optional(),
          after: z.unknown().optional(),
        }),
      )
      .optional(),
    diffOmitted: z.int().optional().describe('How many members of the diff did not fit'),
    policy: z
      .array(z.object({ webhookId: z.string(), verdict: z.enum(['allowed', 'not-asked']) }))
      .optional()
      .describe('Policy hooks that the change concerned'),
    environments: z.array(
      z.object({
        environmentId: z.string(),
        epoch: z.int(),
        previousRevision: z.int().optional(),
        revision: z.int(),
        accessSequence: z.int(),
      }),
    ),
  })
  .meta({ id: 'AuditEntry' });

const hexSchema = z.string().describe('SHA-256, hex');
const treeHeadSchema = z
  .object({
    size: z.int().describe('Entries 1 to size are meant'),
    root: hexSchema,
    issuedAt: timestampSchema,
    keyId: z.string(),
    signed: z.string().describe('The signed document, base64: keep it to verify the log later'),
    keySet: z.string().describe('The signed key set that names the key, base64'),
    rootPublicKey: z.string(),
  })
  .meta({ id: 'AuditTreeHead' });
const proofSchema = z.object({ size: z.int(), root: hexSchema, hashes: z.array(hexSchema) }).meta({ id: 'AuditProof' });

const sizeSchema = z.coerce.number().int().min(1);

/** One log is read under a tenant and one is the installation's own. */
interface LogPlace {
  readonly url: string;
  readonly params: z.ZodType<{ tenantId?: TenantId }>;
  readonly list: Action;
  readonly export: Action;
  /** Goes into operation ids. */
  readonly name: string;
  readonly whose: string;
}

const PLACES: readonly LogPlace[] = [
  {
    url: '/api/v1/tenants/:tenantId/audit',
    params: tenantParams,
    list: 'audit.list',
    export: 'audit.export',
    name: 'Audit',
    whose: 'a tenant',
  },
  {
    url: '/api/v1/audit',
    params: z.object({}),
    list: 'installation-audit.list',
    export: 'installation-audit.export',
    name: 'InstallationAudit',
    whose: 'the installation itself',
  },
];

/** Reading, exporting and proving the audit logs. Nothing here changes them: entries are appended by the changes themselves. */
export function registerAuditRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  for (const place of PLACES) {
    registerReading(app, core, place);
    registerProving(app, core, place);
  }
}

function registerReading(app: FastifyInstance, core: ControlPlaneCore, place: LogPlace): void {
  registerRoute(app, {
    method: 'GET',
    url: place.url,
    operationId: `list${place.name}Entries`,
    tag: 'audit',
    summary: `List what was done in ${place.whose}, newest first`,
    action: place.list,
    params: place.params,
    query: listQuerySchema.extend(auditFilterShape),
    isList: true,
    replies: { 200: pageSchema(auditEntrySchema) },
    handle: ({ params, query }) => {
      const range = keys.auditEntries(ownerOf(core, params));
      const keep = ({ text }: AuditRow): boolean => matchesFilter(JSON.parse(text) as AuditEntry, query);
      return { status: 200, body: listPage(core.store, range, query, viewEntry, { reverse: true, keep }) };
    },
  });

  registerRoute(app, {
    method: 'GET',
    url: `${place.url}/export`,
    operationId: `export${place.name}Entries`,
    tag: 'audit',
    summary: `Everything that was done in ${place.whose}, oldest first, as one file`,
    description: '`ndjson` without a filter is what `guidon audit verify` checks offline.',
    action: place.export,
    params: place.params,
    query: z.strictObject({ format: z.enum(EXPORT_FORMATS).default('ndjson'), ...auditFilterShape }),
    fileTypes: Object.values(EXPORT_TYPES),
    replies: { 200: z.string().describe('The log') },
    handle: ({ params, query: { format, ...filter } }) => {
      const owner = ownerOf(core, params);
      const name = `audit-${owner === INSTALLATION ? 'installation' : owner}.${format}`;
      const chunks = exportLog(core.store, owner, filter, format);
      return { status: 200, body: new FileBody({ contentType: EXPORT_TYPES[format], name, chunks }) };
    },
  });
}

function registerProving(app: FastifyInstance, core: ControlPlaneCore, place: LogPlace): void {
  const { store, signingKeys } = core;

  registerRoute(app, {
    method: 'GET',
    url: `${place.url}/tree-head`,
    operationId: `read${place.name}TreeHead`,
    tag: 'audit',
    summary: `What the log of ${place.whose} is now, signed: kept elsewhere it proves later that nothing was changed`,
    action: place.list,
    params: place.params,
    replies: { 200: treeHeadSchema },
    handle: ({ params }) => {
      const head = currentTreeHead(store, ownerOf(core, params), core.now(), signingKeys.signingKey);
      return { status: 200, body: viewHead(core, head.head, head.signed) };
    },
  });

  registerRoute(app, {
    method: 'GET',
    url: `${place.url}/tree-heads`,
    operationId: `list${place.name}TreeHeads`,
    tag: 'audit',
    summary: `What the log of ${place.whose} was, signed: newest first, fewer the older they are`,
    description:
      'A log that grows is signed each minute. Data-plane nodes hold the newest and report a log that was changed.',
    action: place.list,
    params: place.params,
    query: listQuerySchema,
    isList: true,
    replies: { 200: pageSchema(treeHeadSchema) },
    handle: ({ params, query }) => {
      const range = keys.auditTreeHeads(ownerOf(core, params));
      const view = (row: TreeHeadRow) => viewHead(core, row, signedHeadOf(row));
      return { status: 200, body: listPage(store, range, query, view, { reverse: true }) };
    },
  });

  registerRoute(app, {
    method: 'GET',
    url: `${place.url}/inclusion-proof`,
    operationId: `prove${place.name}Entry`,
    tag: 'audit',
    summary: 'Proof that an entry is in the log of a size (RFC 9162, 2.1.3)',
    action: place.list,
    params: place.params,
    query: z.strictObject({ sequence: sizeSchema, size: sizeSchema }),
    replies: { 200: proofSchema },
    handle: ({ params, query: { sequence, size } }) => ({
      status: 200,
      body: proveEntry(store, ownerOf(core, params), sequence, size),
    }),
  });

  registerRoute(app, {
    method: 'GET',
    url: `${place.url}/consistency-proof`,
    operationId: `prove${place.name}Growth`,
    tag: 'audit',
    summary: 'Proof that the log of one size is the beginning of that of another (RFC 9162, 2.1.4)',
    action: place.list,
    params: place.params,
    query: z.strictObject({ first: sizeSchema, second: sizeSchema }),
    replies: { 200: proofSchema },
    handle: ({ params, query: { first, second } }) => ({
      status: 200,
      body: proveGrowth(store, ownerOf(core, params), first, second),
    }),
  });
}

function ownerOf({ store }: ControlPlaneCore, { tenantId }: { readonly tenantId?: TenantId }): Scope {
  if (tenantId === undefined) return INSTALLATION;
  getTenant(store, tenantId);
  return tenantId;
}

function viewHead(
  { signingKeys }: ControlPlaneCore,
  { size, root, issuedAt, keyId }: Pick<TreeHead, 'size' | 'root' | 'issuedAt' | 'keyId'>,
  head: Signed,
): z.infer<typeof treeHeadSchema> {
  const signed = Buffer.from(encodeSigned(head)).toString('base64');
  const keySet = Buffer.from(encodeSigned(signingKeys.keySet)).toString('base64');
  return { size, root, issuedAt, keyId, signed, keySet, rootPublicKey: signingKeys.rootPublicKey };
}

function viewEntry({ text, hash }: AuditRow): object {
  return { ...(JSON.parse(text) as AuditEntry), text, hash };
}
