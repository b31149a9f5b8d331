import assert from 'node:assert/strict';
import {
  compileSnapshot,
  type Decoded,
  decodeStrictMsgpack,
  KernelThread,
  type ResidentSnapshot,
  SnapshotMemory,
} from '@guidon/engine';
import { CALL_OPTION, STATUS, THREAD } from '@guidon/engine/compile/thread-layout.js';
import { flagSetOf } from './flag-sets.js';
import { TEST_ENVIRONMENT } from './kernel-evaluator.js';

/** What the kernel makes of a JSON body before it looks at what is in it. */
export class JsonTranscoder {
  readonly #memory: SnapshotMemory;
  readonly #resident: ResidentSnapshot;
  readonly #handle: ReturnType<SnapshotMemory['openThread']>;
  readonly #thread: KernelThread;

  static async create(): Promise<JsonTranscoder> {
    const { compiled } = compileSnapshot(flagSetOf([]), { environment: TEST_ENVIRONMENT, revision: 1 });
    assert(compiled !== undefined, 'no flags compile');
    const memory = await SnapshotMemory.create();
    return new JsonTranscoder(memory, await memory.load(compiled.snapshot));
  }

  private constructor(memory: SnapshotMemory, resident: ResidentSnapshot) {
    this.#memory = memory;
    this.#resident = resident;
    this.#handle = memory.openThread();
    this.#thread = new KernelThread(this.#handle);
  }

  /** The msgpack; undefined when the body is malformed. */
  transcode(body: Uint8Array): Uint8Array | undefined {
    const options = { route: 'batch', requestFormat: 'json', now: 0, clientSideOnly: false } as const;
    const call = this.#memory.assign(this.#handle, this.#resident, body, options);
    assert(!('status' in call) && (call.options & CALL_OPTION.jsonRequest) !== 0, 'the body is handed over');
    if (this.#thread.evaluate(call) === -STATUS.malformed) return undefined;
    const bytes = Buffer.from(this.#handle.memory.buffer);
    const field = (offset: number): number => bytes.readUInt32LE(this.#handle.threadAddress + offset);
    return Uint8Array.from(bytes.subarray(field(THREAD.body), field(THREAD.end)));
  }

  /** The value of a body that is no msgpack either when it is malformed. */
  decode(body: Uint8Array): Decoded {
    const msgpack = this.transcode(body);
    return msgpack === undefined ? { ok: false, detail: 'malformed', offset: 0 } : decodeStrictMsgpack(msgpack);
  }
}
