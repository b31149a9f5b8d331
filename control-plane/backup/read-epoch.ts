import { join } from 'node:path';
import { DATA_FILE } from '../store/data-file.js';
import { assertSoundFile } from '../store/sound-file.js';
import { StoreSnapshot } from './store-snapshot.js';

/** A process of its own (restore-backup.ts): prints the highest epoch of the store in its argument, or dies of it. */
const [directory = ''] = process.argv.slice(2);
assertSoundFile(join(directory, DATA_FILE));
const snapshot = new StoreSnapshot(directory);
process.stdout.write(String(snapshot.highestEpoch()));
await snapshot.close();
