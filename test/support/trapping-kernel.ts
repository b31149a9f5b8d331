import { KernelHost, type ResidentSnapshot } from '@guidon/engine';

/** Beyond any memory a kernel has. */
const NOWHERE = 0xffff_fff0;

/**
 * Makes real kernels trap: snapshots that `isPoisonous` says so of lie nowhere once they are loaded, so that the kernel reads out of bounds.
 * Concerns every host of this process until the returned function is called.
 */
export function trapOn(isPoisonous: (snapshot: ResidentSnapshot) => boolean): () => void {
  const { load, release } = Object.getOwnPropertyDescriptors(KernelHost.prototype);
  const addresses = new WeakMap<ResidentSnapshot, number>();
  KernelHost.prototype.load = async function poisonedLoad(...parameters) {
    const resident = await load.value?.apply(this, parameters);
    if (resident === undefined) throw new Error('a kernel host loads snapshots');
    if (isPoisonous(resident)) {
      addresses.set(resident, resident.address);
      Object.assign(resident, { address: NOWHERE });
    }
    return resident;
  };
  KernelHost.prototype.release = function mendedRelease(resident) {
    const address = addresses.get(resident);
    if (address !== undefined) Object.assign(resident, { address });
    release.value?.call(this, resident);
  };
  return () => {
    Object.defineProperties(KernelHost.prototype, { load, release });
  };
}
