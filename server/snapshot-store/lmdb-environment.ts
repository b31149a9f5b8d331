import { open, type RootDatabase } from 'lmdb';

/** Values are our own bytes, so that lmdb's decoder never sees stored data (M16). */
export type Environment = RootDatabase<Buffer, string[]>;

/**
 * Opens the node's LMDB. `overlappingSync` is off as in the control plane: a high-water mark that is acknowledged is on disk, and a
 * commit that fails is not visible (M1, M2). Nor does lmdb gather the writes of one turn: each commit is a batch here already, and the
 * promise of what it gathers, which nobody can reach, would end the process when a commit fails (M2).
 */
export function openEnvironment(directory: string, options: { readOnly?: boolean } = {}): Environment {
  return open<Buffer, string[]>({
    path: directory,
    encoding: 'binary',
    overlappingSync: false,
    eventTurnBatching: false,
    readOnly: options.readOnly ?? false,
    // A directory, whatever its name looks like.
    noSubdir: false,
  });
}
