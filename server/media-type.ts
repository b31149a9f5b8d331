import type { BodyFormat } from '@guidon/engine';

export const MEDIA_TYPES = { msgpack: 'application/msgpack', json: 'application/json' } as const;
const TEXT_TYPES: ReadonlySet<string> = new Set(['text/plain', 'application/x-ndjson']);
export const PROBLEM_MEDIA_TYPES = { msgpack: 'application/msgpack', json: 'application/problem+json' } as const;

/**
 * The format a `Content-Type` names, or undefined for one we do not read. A charset other than UTF-8 is one we do not read. `takesText`: text
 * is JSON.
 */
export function findBodyFormat(contentType: string, takesText = false): BodyFormat | undefined {
  if (contentType === MEDIA_TYPES.msgpack) return 'msgpack';
  if (contentType === MEDIA_TYPES.json) return 'json';
  const [type = '', ...parameters] = contentType.toLowerCase().split(';');
  const isUtf8 = parameters.every((parameter) => /^\s*(charset="?utf-8"?)?\s*$/.test(parameter));
  if (!isUtf8) return undefined;
  const name = type.trim();
  if (name === MEDIA_TYPES.msgpack) return 'msgpack';
  return name === MEDIA_TYPES.json || (takesText && TEXT_TYPES.has(name)) ? 'json' : undefined;
}

/** The format to answer in: what `Accept` prefers among ours, else the format of the request. Never a reason to refuse. */
export function answerFormat(accept: string, requestFormat: BodyFormat): BodyFormat {
  if (accept === '' || accept === '*/*' || accept === MEDIA_TYPES[requestFormat]) return requestFormat;
  const other: BodyFormat = requestFormat === 'json' ? 'msgpack' : 'json';
  return qualityOf(accept, MEDIA_TYPES[other]) > qualityOf(accept, MEDIA_TYPES[requestFormat]) ? other : requestFormat;
}

/** RFC 9110 section 12.5.1, most specific range wins; 0 when no range matches. */
function qualityOf(accept: string, mediaType: string): number {
  let best = { specificity: -1, quality: 0 };
  for (const range of accept.toLowerCase().split(',')) {
    const [name = '', ...parameters] = range.split(';').map((part) => part.trim());
    const specificity = name === mediaType ? 2 : name === 'application/*' ? 1 : name === '*/*' ? 0 : -1;
    if (specificity <= best.specificity) continue;
    const weight = parameters.find((parameter) => parameter.startsWith('q='));
    const quality = weight === undefined ? 1 : Number(weight.slice(2));
    best = { specificity, quality: Number.isFinite(quality) ? quality : 0 };
  }
  return best.quality;
}
