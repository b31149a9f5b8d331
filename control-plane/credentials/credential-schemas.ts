import { z } from 'zod';
import { nameSchema, timestampSchema } from '../admin-api/params.js';
import { credentialQuotasSchema } from '../admin-api/quota-schemas.js';
import type { CredentialRecord } from './credential-record.js';

/** Exactly what a browser sends as Origin: no path, no wildcard inside; `*` alone allows every one. */
const originSchema = z
  .string()
  .max(255)
  .refine((origin) => origin === '*' || isOrigin(origin), 'must be * or an origin such as https://app.example.com');

function isOrigin(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { origin, protocol } = new URL(text);
  return origin === text && !text.includes('*') && (protocol === 'https:' || protocol === 'http:');
}

const permissionsSchema = z.array(z.enum(['explain'])).max(8);
const allowedOriginsSchema = z.array(originSchema).max(50);
const notAfterSchema = timestampSchema.nullable();

export const createCredentialBody = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('srv').describe('For servers: sees raw definitions'),
    name: nameSchema,
    permissions: permissionsSchema.default([]),
    notAfter: notAfterSchema.default(null),
    quotas: credentialQuotasSchema.default({}),
  }),
  z.strictObject({
    kind: z.literal('web').describe('For browsers and apps: evaluates flags with clientSide only'),
    name: nameSchema,
    allowedOrigins: allowedOriginsSchema.default([]),
    notAfter: notAfterSchema.default(null),
    quotas: credentialQuotasSchema.default({}),
  }),
]);

export const srvPatchSchema = z.strictObject({
  name: nameSchema,
  permissions: permissionsSchema,
  notAfter: notAfterSchema.default(null),
  quotas: credentialQuotasSchema.default({}),
});
export const webPatchSchema = z.strictObject({
  name: nameSchema,
  allowedOrigins: allowedOriginsSchema,
  notAfter: notAfterSchema.default(null),
  quotas: credentialQuotasSchema.default({}),
});

/** Both keys work until the old one's overlap ends. */
export const rotateCredentialBody = z.strictObject({
  overlapSeconds: z
    .int()
    .min(0)
    .max(30 * 24 * 3_600)
    .default(24 * 3_600),
});

export const credentialSchema = z
  .object({
    id: z.string(),
    kind: z.enum(['srv', 'web']),
    name: z.string(),
    permissions: z.array(z.string()),
    allowedOrigins: z.array(z.string()),
    notAfter: notAfterSchema,
    quotas: credentialQuotasSchema,
    revokedAt: timestampSchema.nullable(),
    replacedBy: z.string().nullable(),
    createdAt: timestampSchema,
    version: z.int(),
  })
  .meta({ id: 'Credential' });
export type CredentialView = z.infer<typeof credentialSchema>;

export const newCredentialSchema = credentialSchema
  .extend({
    token: z.string().describe('Shown this once'),
    trustRoot: z.string().describe('Fingerprint of the root key: give it to SDKs beside the token'),
  })
  .meta({ id: 'NewCredential' });

export function viewCredential(credential: CredentialRecord): CredentialView {
  const { credentialId, kind, name, permissions, allowedOrigins, notAfter, quotas = {} } = credential;
  const { revokedAt, replacedBy, createdAt, version } = credential;
  return {
    id: credentialId,
    kind,
    name,
    permissions: [...permissions],
    allowedOrigins: [...allowedOrigins],
    notAfter,
    quotas,
    revokedAt,
    replacedBy,
    createdAt,
    version,
  };
}
