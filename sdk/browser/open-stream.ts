import { STREAM_PROTOCOLS, STREAM_TOKEN_PROTOCOL_PREFIX } from '@guidon/protocol/live-updates/close-codes.js';
import type { ValuesPosition } from './flag-values.js';

export type StreamTransport = 'websocket' | 'sse';

export interface StreamListener {
  /** A message of the node, JSON. */
  heard(text: string): void;
  /** Once, however it came. */
  ended(): void;
}

export interface OpenStream {
  /** Says that a frame was applied; events need no such word. */
  acknowledge(at: ValuesPosition): void;
  /** The listener hears nothing any more. */
  close(): void;
}

export interface StreamStart {
  readonly url: string;
  readonly token: string;
  readonly contextText: string;
  readonly since: ValuesPosition | undefined;
}

export function openStream(transport: StreamTransport, start: StreamStart, listener: StreamListener): OpenStream {
  return transport === 'websocket' ? openSocket(start, listener) : openEvents(start, listener);
}

function openSocket({ url, token, contextText, since }: StreamStart, listener: StreamListener): OpenStream {
  const protocols = [STREAM_PROTOCOLS.json, STREAM_TOKEN_PROTOCOL_PREFIX + token];
  const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/v1/stream`, protocols);
  socket.onopen = () => {
    const position = since?.epoch === undefined ? '' : `"epoch":${since.epoch},"revision":${since.revision},`;
    socket.send(`{"type":"hello",${position}"context":${contextText}}`);
  };
  socket.onmessage = ({ data }) => listener.heard(String(data));
  socket.onclose = () => listener.ended();
  return {
    acknowledge: ({ epoch, revision }) => socket.send(JSON.stringify({ type: 'ack', epoch, revision })),
    close: () => {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    },
  };
}

function openEvents({ url, token, contextText, since }: StreamStart, listener: StreamListener): OpenStream {
  const query = new URLSearchParams({ context: base64url(contextText), streamToken: token });
  if (since?.epoch !== undefined) query.set('lastEventId', `${since.epoch}.${since.revision}`);
  const source = new EventSource(`${url}/v1/stream/sse?${query}`);
  const close = (): void => {
    source.onmessage = source.onerror = null;
    source.close();
  };
  source.onmessage = ({ data }) => listener.heard(String(data));
  // By itself it would come back at once, together with everybody else, and with a token that may be over.
  source.onerror = () => {
    close();
    listener.ended();
  };
  return { acknowledge: () => undefined, close };
}

function base64url(text: string): string {
  const binary = Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join('');
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
