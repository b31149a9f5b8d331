/**
 * Things of this thread that several clients use, found by name for as long as somebody else holds them: it keeps nothing alive, and has no more
 * entries than there are such things (and some that are about to go).
 */
export class WeakTable<Thing extends object> {
  readonly #things = new Map<string, WeakRef<Thing>>();
  readonly #gone = new FinalizationRegistry<string>((name) => {
    // Another one may stand under that name by now.
    if (this.#things.get(name)?.deref() === undefined) this.#things.delete(name);
  });

  get count(): number {
    return this.#things.size;
  }

  find(name: string): Thing | undefined {
    return this.#things.get(name)?.deref();
  }

  /** In place of what stood under that name. */
  add(name: string, thing: Thing): void {
    this.#things.set(name, new WeakRef(thing));
    this.#gone.register(thing, name);
  }
}
