import { writeFileSync } from 'node:fs';
import { TABLES } from './tables/index.js';
import { vectorText } from './vector-text.js';

/** Writes the JSON files from the tables; runs from test/dist/vectors. */
for (const table of TABLES) {
  writeFileSync(new URL(`../../vectors/${table.file}.json`, import.meta.url), vectorText(table));
}
