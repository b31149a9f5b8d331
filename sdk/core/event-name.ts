import { EVENT_LIMITS } from '@guidon/protocol';

const LONE_SURROGATE = /\p{Cs}/u;

/** May an event name it? A flag may be asked for by anything, and a summary with one name that is none is refused as a whole. */
export function isEventName(name: unknown): name is string {
  return typeof name === 'string' && name !== '' && name.length <= EVENT_LIMITS.nameChars && !LONE_SURROGATE.test(name);
}
