import { resolve } from 'node:path';
import { compactStore } from '@guidon/control-plane';

/** `guidon compact`. */
export async function runCompact({ data }: { readonly data: string }): Promise<void> {
  const { bytesBefore, bytesAfter } = await compactStore(resolve(data));
  console.log(`${bytesBefore} bytes before, ${bytesAfter} after`);
}
