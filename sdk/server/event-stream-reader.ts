/** Of one event: a whole configuration. */
const EVENT_CHARS_MAX = 128 * 1024 * 1024;

export interface ServerSentEvent {
  readonly id: string;
  /** Lines are joined by a line feed. */
  readonly data: string;
}

/**
 * Server-sent events of a body, as WHATWG has them: lines end in CR LF, LF or CR, a blank line ends an event, lines that begin with a colon are
 * comments. Of the fields `id` and `data` are read. Throws RangeError for an event that does not end.
 */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerSentEvent> {
  const decoder = new TextDecoder();
  let rest = '';
  let id = '';
  let data: string[] = [];
  let dataChars = 0;
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    let from = 0;
    for (;;) {
      const end = lineEnd(rest, from);
      if (end === undefined) break;
      const line = rest.slice(from, end.at);
      from = end.next;
      if (line === '') {
        if (data.length > 0) yield { id, data: data.join('\n') };
        data = [];
        dataChars = 0;
        continue;
      }
      const colon = line.indexOf(':');
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
      if (name === 'id' && !value.includes('\0')) id = value;
      if (name !== 'data') continue;
      data.push(value);
      dataChars += value.length;
    }
    rest = rest.slice(from);
    if (rest.length + dataChars > EVENT_CHARS_MAX) throw new RangeError('an event does not end');
  }
}

/** Undefined: the line goes on. A CR at the very end may be half of CR LF. */
function lineEnd(text: string, from: number): { readonly at: number; readonly next: number } | undefined {
  const feed = text.indexOf('\n', from);
  const carriage = text.indexOf('\r', from);
  if (carriage >= 0 && (feed < 0 || carriage < feed)) {
    if (carriage + 1 === text.length) return undefined;
    return { at: carriage, next: text[carriage + 1] === '\n' ? carriage + 2 : carriage + 1 };
  }
  return feed < 0 ? undefined : { at: feed, next: feed + 1 };
}
