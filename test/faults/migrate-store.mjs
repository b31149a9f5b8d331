// The process of migrations.test.ts: opens a store of an older format, which migrates it, and closes it again.
import { ControlStore } from '@guidon/control-plane/store/control-store.js';
import { STORE_MIGRATIONS } from '@guidon/control-plane/store-migrations.js';

const [directory] = process.argv.slice(2);
const store = await ControlStore.open({ directory, migrations: STORE_MIGRATIONS });
await store.close();
process.exit(0);
