import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import swagger from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import { registerStaticFile } from './static-file.js';

const VERSION = '0.1.0';

/** Collects every route registered after it; call before the nouns. */
export async function collectOpenApi(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Guidon admin API',
        version: VERSION,
        description:
          'Writes on existing things need If-Match with the ETag you have read. POST takes Idempotency-Key: the same request again within ' +
          '24 h is answered as the first time. A write with a session cookie needs X-CSRF-Token besides, as `GET /api/v1/me` answers it, and must be made by a page of this origin. `?dryRun=true` on a write answers the difference it would make and changes nothing. What needs no credential takes neither.',
      },
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer' },
          session: { type: 'apiKey', in: 'cookie', name: '__Host-guidon' },
          apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
        },
      },
    },
    transform: (document) => addHeaders(jsonSchemaTransform(document as never), document.route),
    transformObject: jsonSchemaTransformObject,
  });
}

interface DocumentedRoute {
  readonly method: unknown;
  readonly config?: { readonly publicBecause?: string };
}

interface Transformed {
  readonly schema: unknown;
  readonly url: string;
}

/** Headers are checked by the plumbing, not by a schema; the document says which ones a route takes. */
function addHeaders({ schema, url }: Transformed, route: DocumentedRoute): never {
  const statuses = Object.keys((schema as { response?: object } | undefined)?.response ?? {});
  const properties = {
    ...(statuses.includes('428')
      ? { 'If-Match': { type: 'string', description: 'The ETag that was read; 412 when it has changed since' } }
      : {}),
    ...(route.method === 'GET'
      ? {}
      : {
          'X-Guidon-Comment': { type: 'string', description: 'Why, percent-encoded UTF-8; kept in the audit log' },
          Prefer: { type: 'string', description: '`wait=5`: answer when all live nodes serve it, 5 s later at most' },
        }),
    ...(route.method === 'POST' && route.config?.publicBecause === undefined
      ? { 'Idempotency-Key': { type: 'string', description: 'Any text of your own, unique per request' } }
      : {}),
  };
  if (Object.keys(properties).length === 0) return { schema, url } as never;
  return { schema: { ...(schema as object), headers: { type: 'object', properties } }, url } as never;
}

/** `/openapi.json` and the reference page at `/docs`, all from files of ours: it works offline and loads nothing from elsewhere. */
export function registerReference(app: FastifyInstance): void {
  let document: string | undefined;
  app.route({
    method: 'GET',
    url: '/openapi.json',
    config: { publicBecause: 'the description of the API holds no data' },
    schema: { hide: true },
    handler: (_, reply) => {
      document ??= JSON.stringify(app.swagger());
      return reply.type('application/json; charset=utf-8').send(document);
    },
  });
  const publicBecause = 'the reference page holds no data';
  const html = { url: '/docs', contentType: 'text/html; charset=utf-8', content: DOCS_HTML, publicBecause };
  registerStaticFile(app, { ...html, policy: DOCS_POLICY });
  registerStaticFile(app, {
    url: '/docs/scalar.js',
    contentType: 'text/javascript; charset=utf-8',
    content: readFileSync(scalarPath()),
    publicBecause,
  });
  registerStaticFile(app, {
    url: '/docs/start.js',
    contentType: 'text/javascript; charset=utf-8',
    content: DOCS_SCRIPT,
    publicBecause,
  });
}

/** The renderer writes style elements; scripts and connections stay on this origin. */
const DOCS_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self' data: blob:; " +
  "font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const DOCS_HTML = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Guidon admin API</title>
</head>
<body>
<div id="app"></div>
<script src="/docs/scalar.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
`;

const DOCS_SCRIPT = `'use strict';
Scalar.createApiReference('#app', {
  url: '/openapi.json',
  withDefaultFonts: false,
  telemetry: false,
  showDeveloperTools: 'never',
  hideClientButton: true,
  agent: { disabled: true },
  mcp: { disabled: true },
  proxyUrl: '',
});
`;

/** The bundle lies beside the plugin's entry and is no export of its own. */
function scalarPath(): string {
  return fileURLToPath(new URL('./js/standalone.js', import.meta.resolve('@scalar/fastify-api-reference')));
}
