import { z } from 'zod';
import { matchesGlob, matchesPath, RESOURCE_TYPES, type ResourcePath } from './resource-path.js';

const STATEMENTS_MAX = 50;
const ITEMS_MAX = 50;

const actionPattern = z
  .string()
  .regex(/^(\*|[a-z-]+\.(\*|[a-z-]+)|\*\.[a-z-]+)$/, 'must be like flag.update, flag.*, *.read or *');
const resourcePattern = z
  .string()
  .max(512)
  .refine(isResourcePattern, {
    error: `must be *, or parts such as project:shop/env:production/flag:*; the types are ${RESOURCE_TYPES.join(', ')}`,
  });

/** One sentence of a policy: these actions, on these things, with all of these tags, are allowed or denied. */
export const statementSchema = z.strictObject({
  effect: z.enum(['allow', 'deny']),
  actions: z.array(actionPattern).min(1).max(ITEMS_MAX),
  resources: z.array(resourcePattern).min(1).max(ITEMS_MAX),
  tags: z
    .array(z.string().min(1).max(64))
    .max(ITEMS_MAX)
    .default([])
    .describe('Only things that have all of them; an environment that is critical has the tag `critical`'),
});
export const statementsSchema = z.array(statementSchema).min(1).max(STATEMENTS_MAX);
export type Statement = z.infer<typeof statementSchema>;

/** What somebody who holds it may do in one tenant. */
export interface Role {
  readonly key: string;
  readonly statements: readonly Statement[];
}

/** What an action is done to, below its tenant. */
export interface Target {
  readonly path: ResourcePath;
  readonly tags: readonly string[];
}

export type RoleDecision =
  | { readonly isAllowed: true }
  /** `reason` is for the one who asked: which role stands in the way, or that none allows it. */
  | { readonly isAllowed: false; readonly reason: string };

/** Denials win over permissions, and what nothing allows is denied. `holders`: roles that alone can allow the action. */
export function decideByRoles(
  roles: readonly Role[],
  action: string,
  target: Target,
  holders?: readonly string[],
): RoleDecision {
  const what = `${action} on ${target.path === '' ? 'the tenant' : target.path}`;
  const isAbout = ({ actions, resources, tags }: Statement): boolean =>
    actions.some((pattern) => matchesGlob(pattern, action)) &&
    resources.some((pattern) => matchesPath(pattern, target.path)) &&
    tags.every((tag) => target.tags.includes(tag));
  const findRole = (effect: Statement['effect']): Role | undefined =>
    roles.find(({ statements }) => statements.some((statement) => statement.effect === effect && isAbout(statement)));
  const denying = findRole('deny');
  if (denying !== undefined) return { isAllowed: false, reason: `the role ${denying.key} denies ${what}` };
  const isHeld = holders === undefined || roles.some(({ key }) => holders.includes(key));
  if (isHeld && findRole('allow') !== undefined) return { isAllowed: true };
  const held = roles.map(({ key }) => key).join(', ');
  const needed = holders === undefined ? 'no role held allows' : `only the roles ${holders.join(' and ')} allow`;
  return { isAllowed: false, reason: `${needed} ${what}; held: ${held === '' ? 'none' : held}` };
}

/** Is there an action that a pattern of each list names? */
export function overlaps(some: readonly string[], others: readonly string[]): boolean {
  const isOne = (left = '*', right = '*'): boolean => left === '*' || right === '*' || left === right;
  return some.some((left) => {
    const [noun, verb] = left.split('.');
    return others.some((right) => {
      const [otherNoun, otherVerb] = right.split('.');
      return isOne(noun, otherNoun) && isOne(verb, otherVerb);
    });
  });
}

function isResourcePattern(pattern: string): boolean {
  if (pattern === '*' || pattern === '') return true;
  const segments = (pattern.endsWith('/*') ? pattern.slice(0, -2) : pattern).split('/');
  return segments.every((segment) => {
    const [type = '', key = '', ...rest] = segment.split(':');
    return RESOURCE_TYPES.includes(type) && /^[A-Za-z0-9._*-]{1,128}$/.test(key) && rest.length === 0;
  });
}
