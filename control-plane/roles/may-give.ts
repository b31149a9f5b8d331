import { PlatformError } from '@guidon/protocol';
import type { Actor } from '../admin-api/actor.js';
import { mayGrant } from './built-in-roles.js';
import { overlaps, type Role } from './role.js';

/** May the actor give the role to somebody, or take it away? A narrowed token only what the narrow and the wide may both. */
export function mayGive(actor: Actor, roleKey: string): boolean {
  return heldBy(actor).every((held) => mayGrant(keysOf(held), roleKey));
}

/** Nobody takes from others what he could not have given. */
export function assertMayTake(actor: Actor, roles: readonly string[]): void {
  if (roles.every((role) => mayGive(actor, role))) return;
  throw new PlatformError('privilege-escalation', 'there are roles that you may not give or take');
}

/**
 * Roles of the actor that deny something which `given` allows: they have to be given along, or whom they bind makes somebody whom they do
 * not bind, be it himself. Owners may lay down any denial. Actions are compared, not things: rather one refusal too many.
 */
export function findMissingDenials(actor: Actor, given: readonly Role[]): string[] {
  const allowed = given.flatMap(({ statements }) => statements.filter(({ effect }) => effect === 'allow'));
  const missing = heldBy(actor)
    .filter((held) => !keysOf(held).includes('owner'))
    .flat()
    .filter(({ key, statements }) => {
      if (keysOf(given).includes(key)) return false;
      const denied = statements.filter(({ effect }) => effect === 'deny');
      return denied.some((denial) => allowed.some((permission) => overlaps(denial.actions, permission.actions)));
    });
  return [...new Set(keysOf(missing))];
}

/** Nobody but an owner rewrites a denial that binds himself. */
export function assertMayRewrite(actor: Actor, { key, statements }: Role): void {
  if (!statements.some(({ effect }) => effect === 'deny')) return;
  if (!heldBy(actor).some((held) => keysOf(held).includes(key) && !keysOf(held).includes('owner'))) return;
  throw new PlatformError('privilege-escalation', `the role ${key} denies things to you: an owner may change it`);
}

/** What the actor has, once for each way in which it is bound; empty for those whom no roles bind. */
function heldBy(actor: Actor): (readonly Role[])[] {
  if (actor.kind !== 'member') return [];
  return actor.narrowedTo === undefined ? [actor.roles] : [actor.roles, actor.narrowedTo];
}

function keysOf(roles: readonly Role[]): string[] {
  return roles.map(({ key }) => key);
}
