import { matchesGlob } from '../roles/resource-path.js';
import type { EventFilter, WebhookPlace } from './webhook-record.js';

/** What filters look at, of an event or of a change that is asked about. */
export interface Filterable {
  readonly type: string;
  readonly projectId?: string | undefined;
  readonly environmentId?: string | undefined;
  /** `project:shop/env:production/flag:checkout` */
  readonly path: string;
  readonly tags: readonly string[];
}

/** Is it for whoever asked for `filter`, at `place`? An event of a project, such as an edit of a flag, is in each of its environments. */
export function isFor(filter: EventFilter, place: WebhookPlace | null, event: Filterable): boolean {
  const { events, flags, tags } = filter;
  const isThere =
    place === null ||
    (place.projectId === event.projectId &&
      (place.environmentId === undefined ||
        event.environmentId === undefined ||
        place.environmentId === event.environmentId));
  if (!isThere) return false;
  if (events.length > 0 && !events.some((pattern) => matchesGlob(pattern, event.type))) return false;
  const flag = flagOf(event.path);
  if (flags.length > 0 && (flag === undefined || !flags.some((pattern) => matchesGlob(pattern, flag)))) return false;
  return tags.length === 0 || tags.some((tag) => event.tags.includes(tag));
}

function flagOf(path: string): string | undefined {
  return path
    .split('/')
    .find((part) => part.startsWith('flag:'))
    ?.slice('flag:'.length);
}
