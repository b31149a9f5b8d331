import type { FastifyInstance } from 'fastify';

/** What a page of ours may load: its own files from here, nothing from anywhere else. */
export const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'self' data:; " +
  "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Serves bytes that everybody may see. */
export function registerStaticFile(
  app: FastifyInstance,
  file: {
    readonly url: string;
    readonly contentType: string;
    readonly content: string | Buffer;
    readonly publicBecause: string;
    readonly policy?: string;
  },
): void {
  app.route({
    method: 'GET',
    url: file.url,
    config: { publicBecause: file.publicBecause },
    schema: { hide: true },
    handler: (_, reply) =>
      reply
        .header('content-security-policy', file.policy ?? PAGE_POLICY)
        .type(file.contentType)
        .send(file.content),
  });
}
