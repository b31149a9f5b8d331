import { PlatformError } from '@guidon/protocol';
import type { Actor } from '../admin-api/actor.js';
import { mayGrant } from './built-in-roles.js';

/** May the actor give the role to somebody, or take it away? A narrowed token only what the narrow and the wide may both. */
export function mayGive(actor: Actor, roleKey: string): boolean {
  if (actor.kind !== 'member') return true;
  const { roles, narrowedTo = roles } = actor;
  return [roles, narrowedTo].every((held) =>
    mayGrant(
      held.map(({ key }) => key),
      roleKey,
    ),
  );
}

/** Nobody takes from others what he could not have given. */
export function assertMayTake(actor: Actor, roles: readonly string[]): void {
  if (roles.every((role) => mayGive(actor, role))) return;
  throw new PlatformError('privilege-escalation', 'there are roles that you may not give or take');
}
