/** One commit, as the process that writes the store tells it to those that read it. */
export interface StoreChange {
  /** Of all commits; one above the last. */
  readonly count: number;
  /** Whose rows; undefined for those of the node itself. */
  readonly environmentId?: string;
}
