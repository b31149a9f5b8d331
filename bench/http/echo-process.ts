import { createRequire } from 'node:module';

/**
 * The limit to compare with: the same uWebSockets.js build as the data plane's, answering each POST with a fixed number of bytes once
 * the body is in. Sends its port; a message says how long the next answers are and of what type.
 */
type UWebSockets = typeof import('uWebSockets.js');

export interface EchoAnswer {
  readonly bytes: number;
  readonly contentType: string;
}

// Resolved from the server workspace: the comparison must run on the very build that the data plane runs on.
const uws: UWebSockets = createRequire(import.meta.resolve('@guidon/server'))('uWebSockets.js');

let answer = new Uint8Array();
let contentType = '';

uws
  .App()
  .post('/*', (response) => {
    response.onAborted(() => {});
    response.onData((_chunk, isLast) => {
      if (!isLast) return;
      response.cork(() => {
        response.writeHeader('content-type', contentType);
        response.end(answer);
      });
    });
  })
  .listen('127.0.0.1', 0, (token) => {
    process.send?.({ port: uws.us_socket_local_port(token) });
  });

process.on('message', (message: EchoAnswer) => {
  answer = new Uint8Array(message.bytes);
  contentType = message.contentType;
  process.send?.({ isReady: true });
});
process.once('disconnect', () => process.exit(0));
