/**
 * Takes `__proto__` away from every object of this thread, as `node --disable-proto=delete` does for all of them (M18): whatever foreign
 * JSON or msgpack is merged, no prototype can be reached through it. The first thing each process and each worker does.
 */
export function deleteProto(): void {
  Reflect.deleteProperty(Object.prototype, '__proto__');
}
