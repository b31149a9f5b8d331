import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import { type ErrorCode, PlatformError, problemFrom } from '@guidon/protocol';

/** What the HTTP parser refused before there was a request: answered by hand, then the connection ends. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  if (socket.destroyed || !socket.writable) return;
  const code: ErrorCode =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? 'headers-too-large'
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? 'timeout'
        : 'malformed-request';
  const problem = problemFrom(new PlatformError(code, 'the request could not be read'), randomUUID());
  const body = JSON.stringify(problem);
  socket.end(
    `HTTP/1.1 ${problem.status} ${problem.title}\r\ncontent-type: application/problem+json; charset=utf-8\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
