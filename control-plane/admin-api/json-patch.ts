import { isDeepStrictEqual } from 'node:util';
import { type Json, PlatformError } from '@guidon/protocol';

/** RFC 6902. `test` failing is a conflict: the caller saw something else. Never changes its input. */
export interface PatchOperation {
  readonly op: 'add' | 'remove' | 'replace' | 'move' | 'copy' | 'test';
  readonly path: string;
  readonly from?: string | undefined;
  readonly value?: unknown;
}

export const PATCH_OPERATIONS_MAX = 1_000;
/** JSON bytes that all `copy` operations of one patch may copy: without it each could double the document. */
const COPIED_BYTES_MAX = 1024 * 1024;

export function applyJsonPatch(document: Json, operations: readonly PatchOperation[]): Json {
  const root: Root = { document: structuredClone(document) as Mutable, copiedBytes: 0 };
  for (const [index, operation] of operations.entries()) applyOperation(root, operation, `/${index}`);
  return root.document;
}

type Mutable = null | boolean | number | string | Mutable[] | { [name: string]: Mutable };
interface Root {
  document: Mutable;
  copiedBytes: number;
}

function applyOperation(root: Root, operation: PatchOperation, at: string): void {
  const path = parsePointer(operation.path, at);
  switch (operation.op) {
    case 'add':
      add(root, path, mustValue(operation, at), at);
      return;
    case 'remove':
      remove(root, path, at);
      return;
    case 'replace':
      replace(root, path, mustValue(operation, at), at);
      return;
    case 'copy':
      add(root, path, copyOf(root, read(root, parsePointer(operation.from, at), at), at), at);
      return;
    case 'move': {
      const from = parsePointer(operation.from, at);
      if (from.length < path.length && from.every((part, index) => part === path[index])) {
        throw refuse(at, 'a value cannot be moved into itself');
      }
      add(root, path, remove(root, from, at), at);
      return;
    }
    case 'test':
      if (!isDeepStrictEqual(read(root, path, at), mustValue(operation, at))) {
        throw new PlatformError('conflict', `the test at ${operation.path || 'the root'} does not hold`);
      }
  }
}

function copyOf(root: Root, value: Mutable, at: string): Mutable {
  root.copiedBytes += Buffer.byteLength(JSON.stringify(value));
  if (root.copiedBytes > COPIED_BYTES_MAX) throw refuse(at, `a patch copies at most ${COPIED_BYTES_MAX} bytes`);
  return structuredClone(value);
}

function add(root: Root, path: readonly string[], value: Mutable, at: string): void {
  const { parent, name } = parentOf(root, path, at);
  if (parent === undefined) root.document = value;
  else if (Array.isArray(parent)) {
    const index = name === '-' ? parent.length : indexOf(parent, name, at, parent.length);
    parent.splice(index, 0, value);
  } else define(parent, name, value);
}

/** In place, so that the members of a value keep their order. */
function replace(root: Root, path: readonly string[], value: Mutable, at: string): void {
  read(root, path, at);
  const { parent, name } = parentOf(root, path, at);
  if (parent === undefined) root.document = value;
  else if (Array.isArray(parent)) parent[Number(name)] = value;
  else define(parent, name, value);
}

function remove(root: Root, path: readonly string[], at: string): Mutable {
  const value = read(root, path, at);
  const { parent, name } = parentOf(root, path, at);
  if (parent === undefined) throw refuse(at, 'the whole document cannot be removed');
  if (Array.isArray(parent)) parent.splice(Number(name), 1);
  else delete parent[name];
  return value;
}

function read(root: Root, path: readonly string[], at: string): Mutable {
  let value = root.document;
  for (const name of path) {
    if (Array.isArray(value)) value = value[indexOf(value, name, at, value.length - 1)] ?? null;
    else if (typeof value === 'object' && value !== null && Object.hasOwn(value, name)) value = value[name] ?? null;
    else throw refuse(at, `there is nothing at /${path.join('/')}`);
  }
  return value;
}

function parentOf(
  root: Root,
  path: readonly string[],
  at: string,
): { parent: Mutable[] | { [name: string]: Mutable } | undefined; name: string } {
  const name = path[path.length - 1];
  if (name === undefined) return { parent: undefined, name: '' };
  const parent = read(root, path.slice(0, -1), at);
  if (typeof parent !== 'object' || parent === null) throw refuse(at, 'the parent holds no members');
  return { parent, name };
}

/** An own member even when it is called `__proto__`. */
function define(parent: { [name: string]: Mutable }, name: string, value: Mutable): void {
  Object.defineProperty(parent, name, { value, enumerable: true, configurable: true, writable: true });
}

function indexOf(array: readonly Mutable[], name: string, at: string, max: number): number {
  const index = /^(0|[1-9]\d{0,8})$/.test(name) ? Number(name) : -1;
  if (index < 0 || index > max || array.length > 1_000_000) throw refuse(at, `${name} is no index here`);
  return index;
}

function mustValue(operation: PatchOperation, at: string): Mutable {
  if (operation.value === undefined) throw refuse(at, `${operation.op} needs a value`);
  return structuredClone(operation.value) as Mutable;
}

function parsePointer(pointer: string | undefined, at: string): string[] {
  if (pointer === '') return [];
  if (pointer === undefined || !pointer.startsWith('/') || /~(?![01])/.test(pointer)) {
    throw refuse(at, 'a path must be a JSON pointer');
  }
  return pointer
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function refuse(pointer: string, detail: string): PlatformError {
  return new PlatformError('validation-failed', detail, { issues: [{ pointer, code: 'validation-failed', detail }] });
}
