import { readEvents, type ServerSentEvent } from '@guidon/server-sdk/event-stream-reader.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

async function eventsOf(...chunks: readonly Uint8Array[]): Promise<ServerSentEvent[]> {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
  const events: ServerSentEvent[] = [];
  for await (const event of readEvents(body)) events.push(event);
  return events;
}

describe('readEvents()', () => {
  test.each([
    ['one event', 'id: 1.2\ndata: {"a":1}\n\n', [{ id: '1.2', data: '{"a":1}' }]],
    ['CR LF', 'id: 1\r\ndata: x\r\n\r\n', [{ id: '1', data: 'x' }]],
    [
      'CR alone',
      'data: x\r\rdata: y\r\r ',
      [
        { id: '', data: 'x' },
        { id: '', data: 'y' },
      ],
    ],
    ['two lines of data', 'data: a\ndata: b\n\n', [{ id: '', data: 'a\nb' }]],
    ['comments and other fields', ': beat\nretry: 5\nevent: e\ndata:x\n\n', [{ id: '', data: 'x' }]],
    [
      'the id stays until there is another',
      'id: 7\ndata: a\n\ndata: b\n\n',
      [
        { id: '7', data: 'a' },
        { id: '7', data: 'b' },
      ],
    ],
    ['one space is dropped, not two', 'data:  x\n\n', [{ id: '', data: ' x' }]],
    ['a field without a colon', 'data\n\n', [{ id: '', data: '' }]],
    ['no data, no event', 'id: 3\n\n', []],
    ['an event that does not end', 'data: x\n', []],
  ] as const)('%s', async (_, text, expected) => {
    expect(await eventsOf(Buffer.from(text))).toEqual(expected);
  });

  test('is the same wherever the bytes are cut, inside characters and CR LF too', async () => {
    const text = 'id: 1.1\r\ndata: é漢🌍\r\ndata: b\r\n\r\n: c\n\ndata: z\n\nid: 2\rdata: q\r\r\n';
    const bytes = Buffer.from(text);
    const whole = await eventsOf(bytes);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: bytes.length }), { maxLength: 8 }), async (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), bytes.length];
        const chunks = at.slice(1).map((end, index) => bytes.subarray(at[index] ?? 0, end));
        expect(await eventsOf(...chunks)).toEqual(whole);
      }),
      { numRuns: 200 },
    );
  });
});
