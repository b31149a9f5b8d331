import type { Issue } from '@guidon/protocol';
import { LIMITS } from '@guidon/protocol';

/** Who names whom, both of one kind (flags by prerequisites, segments by segment clauses). Names that do not exist are left out; who names nobody may be. */
export type ReferenceGraph = ReadonlyMap<string, readonly string[]>;

interface GraphNames {
  /** `flag` or `segment`, for the text of an issue. */
  readonly noun: string;
  readonly pointerOf: (key: string) => string;
}

/** One `reference-cycle` issue per group of definitions that reach each other, naming them all, and one per definition too deep. */
export function checkReferenceGraph(graph: ReferenceGraph, names: GraphNames): Issue[] {
  const issues: Issue[] = [];
  const heights = new Map<string, number>();
  for (const component of componentsOf(graph)) {
    const [first = ''] = component;
    const isCycle = component.length > 1 || (graph.get(first) ?? []).includes(first);
    if (isCycle) issues.push(cycleIssue(component, graph, names));
    // Inside a cycle there is no height; whoever reaches one is told by the cycle's own issue.
    const height = isCycle ? 0 : heightOf(first, graph, heights);
    for (const key of component) heights.set(key, height);
    if (height > LIMITS.referenceDepth) {
      const detail = `${names.noun} ${first} reaches ${height} references deep; at most ${LIMITS.referenceDepth} are allowed`;
      issues.push({ pointer: names.pointerOf(first), code: 'reference-cycle', detail });
    }
  }
  return issues;
}

function heightOf(key: string, graph: ReferenceGraph, heights: ReadonlyMap<string, number>): number {
  let height = 0;
  for (const next of graph.get(key) ?? []) height = Math.max(height, 1 + (heights.get(next) ?? 0));
  return height;
}

function cycleIssue(component: readonly string[], graph: ReferenceGraph, names: GraphNames): Issue {
  const members = [...component].sort();
  const [first = ''] = members;
  const ring = ringFrom(first, new Set(members), graph);
  const shown = ring.length === members.length ? [...ring, first].join(' -> ') : members.join(', ');
  return {
    pointer: names.pointerOf(first),
    code: 'reference-cycle',
    detail: `each ${names.noun} of these reaches itself: ${shown}`,
  };
}

/** Follows one edge inside the component from each member; all members in a row when the component is one simple ring. */
function ringFrom(first: string, members: ReadonlySet<string>, graph: ReferenceGraph): string[] {
  const ring = new Set<string>();
  for (let key: string | undefined = first; key !== undefined && !ring.has(key); ) {
    ring.add(key);
    key = graph.get(key)?.find((next) => members.has(next));
  }
  return [...ring];
}

interface Visit {
  readonly key: string;
  readonly order: number;
  /** The smallest order on the stack that this visit reaches. */
  low: number;
  nextEdge: number;
}

/**
 * Strongly connected components (Tarjan), each after all that it reaches. Without recursion: a chain may be as long as there are
 * definitions.
 */
function componentsOf(graph: ReferenceGraph): string[][] {
  const components: string[][] = [];
  const orders = new Map<string, number>();
  const open: string[] = [];
  const isOpen = new Set<string>();
  const visits: Visit[] = [];
  const enter = (key: string): void => {
    const order = orders.size;
    orders.set(key, order);
    open.push(key);
    isOpen.add(key);
    visits.push({ key, order, low: order, nextEdge: 0 });
  };
  for (const root of graph.keys()) {
    if (orders.has(root)) continue;
    enter(root);
    for (let visit = visits.at(-1); visit !== undefined; visit = visits.at(-1)) {
      const next: string | undefined = graph.get(visit.key)?.[visit.nextEdge];
      visit.nextEdge++;
      if (next !== undefined) {
        const order = orders.get(next);
        if (order === undefined) enter(next);
        else if (isOpen.has(next)) visit.low = Math.min(visit.low, order);
        continue;
      }
      visits.pop();
      const parent = visits.at(-1);
      if (parent !== undefined) parent.low = Math.min(parent.low, visit.low);
      if (visit.low !== visit.order) continue;
      const component = open.splice(open.lastIndexOf(visit.key));
      for (const key of component) isOpen.delete(key);
      components.push(component);
    }
  }
  return components;
}
