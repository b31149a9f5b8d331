import { createRequire } from 'node:module';

/**
 * The limit to compare with: the same uWebSockets.js build as the data plane's, answering each POST with a fixed number of bytes once
 * the body is in. Usage: node echo-process.js <answer bytes> <content type>. Prints its port.
 */
type UWebSockets = typeof import('uWebSockets.js');

// Resolved from the server workspace: the comparison must run on the very build that the data plane runs on.
const uws: UWebSockets = createRequire(import.meta.resolve('@guidon/server'))('uWebSockets.js');

const answer = new Uint8Array(Number(process.argv[2]));
const contentType = process.argv[3] ?? 'application/octet-stream';

uws
  .App()
  .post('/v1/evaluate', (response) => {
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
    console.log(JSON.stringify({ port: uws.us_socket_local_port(token) }));
  });
