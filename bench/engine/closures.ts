import { murmur3 } from '@guidon/engine';
import { W1_FLAG, type WorkloadContext, w3Flags } from '../workloads.js';

/** Answers one flag from a JavaScript object. */
export type ClosureFlag = (context: WorkloadContext) => string;

const encoder = new TextEncoder();
const scratch = new Uint8Array(256);

function bucketOf(prefix: string, value: string): number {
  const { written } = encoder.encodeInto(prefix + value, scratch);
  return Math.floor((murmur3(scratch, written) * 100_000) / 2 ** 32);
}

/** W1 as one would write it by hand. */
export const w1Closure: ClosureFlag = (context) =>
  bucketOf(`salt-${W1_FLAG}.`, context.targetingKey) < 50_000 ? 'on' : 'off';

/** `major.minor.patch` as one number: all that the workloads need. */
function versionNumber(version: string): number {
  const [major, minor, patch] = version.split('.');
  return Number(major) * 1e6 + Number(minor) * 1e3 + Number(patch);
}

/**
 * W2 by hand, with constants like w2Flag's: what JavaScript can do when the rules are code. It is a floor to compare with, no product:
 * it checks nothing, reads objects instead of bytes and gives no reason.
 */
export function w2Closure(key: string, index: number): ClosureFlag {
  const countries = new Set(['AT', 'BE', 'CH', 'DE', 'ES', 'FR', 'IT', 'NL', 'PL', 'SE']);
  const others = new Set(['AR', 'BR', 'CL', 'CO', 'EC', 'GY', 'PE', 'PY', 'SR', 'UY']);
  const oldest = versionNumber(`1.${index % 10}.0`);
  const newest = versionNumber(`9.${index % 10}.0`);
  const admin = `admin-${index === 0 ? '' : index}`;
  const prefix = `salt-${key}.`;
  return (context) => {
    if (countries.has(context.country) && context.age >= 200 + index) return 'off';
    if (versionNumber(context.appVersion) >= oldest && context.email.startsWith(admin)) return 'off';
    if (context.plan === 'pro' && others.has(context.country)) return 'off';
    if (context.sessions >= 1 && versionNumber(context.appVersion) >= newest) return 'off';
    if (!context.email.startsWith('user-') || context.platform !== 'ios') return 'off';
    return bucketOf(prefix, context.targetingKey) < 30_000 ? 'treatment' : 'control';
  };
}

/** W3: a closure for each of its flags. */
export function w3Closures(): ClosureFlag[] {
  return w3Flags().map(({ key }, index) => w2Closure(key, index));
}
