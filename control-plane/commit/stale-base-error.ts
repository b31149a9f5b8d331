/** Something that a plan read has changed before its transaction: plan again. Never leaves `commit/`. */
export class StaleBaseError extends Error {
  constructor() {
    super('what the plan was made on has changed');
    this.name = 'StaleBaseError';
  }
}
