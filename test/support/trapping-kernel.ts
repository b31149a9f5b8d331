import { KernelHost, type ResidentSnapshot, type SnapshotMemory } from '@guidon/engine';
import { ROOT } from '@guidon/engine/compile/layout.js';

/** Beyond any memory a kernel has. */
const NOWHERE = 0xffff_fff0;

/** Makes real kernels trap on one snapshot: its blocks lie nowhere, so that they read out of bounds. Returns what mends it. */
export function poison(memory: SnapshotMemory, { address, blocks }: ResidentSnapshot): () => void {
  const handle = memory.openThread();
  memory.closeThread(handle);
  const view = new DataView(handle.memory.buffer);
  const table = address + view.getUint32(address + ROOT.totalBytes, true);
  const point = (addressOf: (index: number) => number): void => {
    for (const index of blocks.keys()) view.setUint32(table + index * 4, addressOf(index), true);
  };
  point(() => NOWHERE);
  return () => point((index) => blocks[index]?.address ?? NOWHERE);
}

/** Poisons the snapshots that `isPoisonous` says so of when they are loaded, by every host of this process until the returned function is called. */
export function trapOn(isPoisonous: (snapshot: ResidentSnapshot) => boolean): () => void {
  const { load } = Object.getOwnPropertyDescriptors(KernelHost.prototype);
  KernelHost.prototype.load = async function poisonedLoad(...parameters) {
    const resident = await load.value?.apply(this, parameters);
    if (resident === undefined) throw new Error('a kernel host loads snapshots');
    if (isPoisonous(resident)) poison(this.memory, resident);
    return resident;
  };
  return () => {
    Object.defineProperties(KernelHost.prototype, { load });
  };
}
