import { createRequire } from 'node:module';
import { STORE_OPTIONS } from '@guidon/control-plane/store/control-store.js';

const { open } = createRequire(import.meta.url)('lmdb') as typeof import('lmdb');

/** Every row of a store that nobody has open, byte for byte, except for who wrote last. By its key as JSON. */
export async function readAllRows(directory: string): Promise<Map<string, string>> {
  const database = open<Buffer>({ path: directory, ...STORE_OPTIONS, readOnly: true });
  try {
    const rows = [...database.getRange()].map(
      ({ key, value }) => [JSON.stringify(key), value.toString('hex')] as const,
    );
    return new Map(rows.filter(([key]) => key !== '["$","$","writer"]'));
  } finally {
    await database.close();
  }
}
