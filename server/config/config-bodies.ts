import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import type { BodyFormat } from '@guidon/engine';
import { PlatformError } from '@guidon/protocol';
import { configTextOf, type Position, positionText } from '@guidon/protocol/live-updates';
import { encodeConfigFrame, encodeConfigMessage } from '@guidon/protocol/msgpack';
import { MEDIA_TYPES } from '../media-type.js';
import { AnswerHead } from '../reply.js';
import { BodyCache } from './body-cache.js';
import type { ConfigView } from './config-view.js';

export type ContentEncoding = 'br' | 'gzip' | 'identity';

/** Which of the bytes of one position. */
export interface ConfigForm {
  /** What the asker has; where that is not known, the whole is answered. */
  readonly since: Position | undefined;
  readonly format: BodyFormat;
  readonly encoding: ContentEncoding;
}

interface ConfigBody {
  readonly bytes: Uint8Array;
  readonly head: AnswerHead;
}

/** Of a stream: takes a client from where it is to this position. */
export interface ConfigFrame extends Position {
  readonly bytes: Uint8Array;
}

/** Of one whole configuration, encoded: what does not fit is for nodes, which store definitions one by one. */
const BODY_BYTES_MAX = 128 * 1024 * 1024;
/** Below it a compressed body is no shorter on the wire. */
const COMPRESSED_BYTES_MIN = 1_024;
/** Between the density of 11 and its two hundred times the time. */
const BROTLI_QUALITY = 5;
/** Enough to tell the signatures of one revision apart. */
const SIGNATURE_BYTES_NAMED = 16;
const compressBrotli = promisify(brotliCompress);
const compressGzip = promisify(gzip);

/** Config as it is sent, each form made once per revision. Compression runs in the thread pool of Node. */
export class ConfigBodies {
  readonly #bodies = new BodyCache<ConfigBody>();
  readonly #frames = new BodyCache<ConfigFrame>();

  get bytes(): number {
    return this.#bodies.bytes + this.#frames.bytes;
  }

  /** The newest as an HTTP answer. Who may keep it is said beside it. */
  async body(view: ConfigView, form: ConfigForm): Promise<ConfigBody> {
    const name = `${view.environment.environmentId}/${etagOf(view, form)}`;
    return this.#bodies.find(name) ?? this.#bodies.make(name, () => makeBody(view, form));
  }

  /** As a stream is sent it: a `patch` from `since` where that is known, else a `put`. A promise while it has to be made. */
  frame(view: ConfigView, since: Position | undefined, format: BodyFormat): ConfigFrame | Promise<ConfigFrame> {
    const { position, signature, environment } = view;
    if (position === undefined || signature === undefined)
      throw new PlatformError('not-ready', 'There is no configuration.');
    const from = since !== undefined && view.isKnown(since) ? since : undefined;
    // A revision is signed anew before its manifest expires, and when its key is revoked: nobody new would take the older frame.
    const signed = Buffer.from(signature).toString('base64url', 0, SIGNATURE_BYTES_NAMED);
    const name = `${environment.environmentId}/${positionText(position)}/${signed}/${from?.revision ?? 'all'}/${format}`;
    return (
      this.#frames.find(name) ??
      this.#frames.make(name, async () => {
        const message = await view.message(from);
        const type = message.previousRevision === 0 ? 'put' : 'patch';
        const bytes = encodeConfigFrame(format, type, message, message);
        assertSize(bytes);
        return { epoch: message.epoch, revision: message.revision, bytes };
      })
    );
  }
}

async function makeBody(view: ConfigView, form: ConfigForm): Promise<ConfigBody> {
  const { format, encoding } = form;
  const message = await view.message(form.since);
  const encoded =
    format === 'msgpack' ? encodeConfigMessage(message) : Buffer.from(JSON.stringify(configTextOf(message)));
  assertSize(encoded);
  const isWorth = encoding !== 'identity' && encoded.length >= COMPRESSED_BYTES_MIN;
  const bytes = isWorth ? await compress(encoded, encoding) : encoded;
  const lines = [
    // Of what was read: the revision may have changed on the way.
    `ETag: ${etagFrom(message.signed.signature, message, message.previousRevision, form)}`,
    'Vary: Accept, Accept-Encoding',
    ...(isWorth ? [`Content-Encoding: ${encoding}`] : []),
    `X-Guidon-Revision: ${message.revision}`,
  ];
  return { bytes, head: new AnswerHead(MEDIA_TYPES[format], lines) };
}

/** Strong: another one for each sequence of bytes. */
export function etagOf(view: ConfigView, form: ConfigForm): string {
  const { position, signature } = view;
  if (position === undefined || signature === undefined)
    throw new PlatformError('not-ready', 'There is no configuration.');
  const previousRevision = form.since !== undefined && view.isKnown(form.since) ? form.since.revision : 0;
  return etagFrom(signature, position, previousRevision, form);
}

function etagFrom(
  signature: Uint8Array,
  position: Position,
  previousRevision: number,
  { format, encoding }: ConfigForm,
): string {
  const signed = createHash('sha256').update(signature).digest('base64url').slice(0, 16);
  const from = previousRevision === 0 ? '' : `-${previousRevision}`;
  return `"${positionText(position)}-${signed}${from}-${format}-${encoding}"`;
}

async function compress(bytes: Uint8Array, encoding: 'br' | 'gzip'): Promise<Uint8Array> {
  return encoding === 'br'
    ? compressBrotli(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY } })
    : compressGzip(bytes);
}

function assertSize({ length }: Uint8Array): void {
  if (length > BODY_BYTES_MAX)
    throw new PlatformError('limit-exceeded', `The configuration has more than ${BODY_BYTES_MAX} bytes.`);
}
