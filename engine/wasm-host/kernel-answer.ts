import { REQUEST_LIMITS } from '@guidon/protocol';
import { PLACE } from '../compile/thread-layout.js';

/** What the kernel says to one request. */
export type KernelAnswer =
  | {
      readonly status: 'ok';
      /** Borrowed: a view on kernel memory, valid until the next `evaluate` of this host. */
      readonly bytes: Uint8Array;
      readonly evaluations: number;
    }
  | { readonly status: 'revision-behind'; readonly minRevision: number }
  | KernelRefusal;

/** The request may cost more than was admitted: nothing of it has been answered. */
export interface CostlyAnswer {
  readonly status: 'costly';
}

export interface KernelRefusal {
  /** Codes of protocol/error-code.ts. */
  readonly status: 'malformed-body' | 'validation-failed' | 'limit-exceeded' | 'payload-too-large';
  readonly detail: string;
  /** Where in the body, RFC 6901; absent when the body as a whole is meant. */
  readonly pointer?: string;
}

/** The 422 for a body whose members are not what the protocol says. `index` counts elements, `name` is an unknown member's. */
export function refusalOfPlace(place: number, index: number, name: string): KernelRefusal {
  const invalid = (pointer: string, detail: string): KernelRefusal => ({
    status: 'validation-failed',
    detail,
    pointer,
  });
  switch (place) {
    case PLACE.unknownMember:
      return invalid(`/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`, 'the protocol has no such member');
    case PLACE.flags:
      return invalid('/flags', 'must be a flag key or a list of flag keys');
    case PLACE.flagsElement:
      return invalid(`/flags/${index}`, 'must be a flag key');
    case PLACE.context:
      return invalid('/context', 'is missing');
    case PLACE.minRevision:
      return invalid('/minRevision', 'must be an integer from 0 to 2^53 - 1');
    case PLACE.flagKey:
      return invalid('/flag_key', 'must be a flag key, and the only one of `flags`, `flag_key` and `flagKey`');
    case PLACE.userId:
      return invalid('/user_id', 'must be a string or a number, and the only one of `user_id` and `userId`');
    case PLACE.requests:
      return invalid(
        '/requests',
        'must be a list of requests; a body has either `requests` or `contexts` with `flags`',
      );
    case PLACE.contexts:
      return invalid('/contexts', 'must be a list of contexts');
    default:
      return invalid('', 'must be an object');
  }
}

/** The 422 for a limit. */
export function limitOfPlace(place: number): KernelRefusal {
  if (place === PLACE.context) {
    return {
      status: 'limit-exceeded',
      detail: 'the context is too large, too deep or has too many attributes',
      pointer: '/context',
    };
  }
  if (place === PLACE.evaluation) {
    const detail = `the evaluation costs more than ${REQUEST_LIMITS.fuelPerRequest}: ask for fewer flags or contexts`;
    return { status: 'limit-exceeded', detail };
  }
  const pointer = place === PLACE.flags ? '/flags' : place === PLACE.requests ? '/requests' : '/contexts';
  const detail = `asks for more than ${REQUEST_LIMITS.evaluationsPerRequest} evaluations`;
  return { status: 'limit-exceeded', detail, pointer };
}
