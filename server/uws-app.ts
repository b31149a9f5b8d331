import uWS, { type HttpResponse, type TemplatedApp } from 'uWebSockets.js';
import assert from 'node:assert';
import { PlatformError } from '@guidon/protocol';
import type { TlsFiles } from '@guidon/protocol/tls-files';

/** A listening app. Routes are added through Router alone. */
export interface ListeningApp {
  readonly port: number;
  /** No new connections; the present ones go on. */
  stopListening(): void;
  /** Ends every connection at once. */
  close(): void;
}

export function createApp(): TemplatedApp {
  return uWS.App();
}

/** The files are read by the native call: look at them with `readTlsFiles` first, which says what is wrong with them. */
export function createTlsApp({ certFile, keyFile }: TlsFiles): TemplatedApp {
  return uWS.SSLApp({ cert_file_name: certFile, key_file_name: keyFile });
}

/**
 * Rejects with `conflict` when the port is taken. `isShared`: the kernel spreads connections over all processes of this user that share the
 * port; without it one port is one process's, not a share of somebody else's requests.
 */
export function listen(app: TemplatedApp, host: string, port: number, isShared: boolean): Promise<ListeningApp> {
  return new Promise((resolve, reject) => {
    listenWith(app, host, port, isShared ? SHARED_PORT : EXCLUSIVE_PORT, (socket) => {
      if (socket === false) {
        reject(new PlatformError('conflict', `the port ${port} on ${host} cannot be listened on`));
        return;
      }
      let isListening = true;
      const stopListening = (): void => {
        // The native call takes no handle twice.
        if (isListening) uWS.us_listen_socket_close(socket);
        isListening = false;
      };
      resolve({
        port: uWS.us_socket_local_port(socket),
        stopListening,
        close: () => {
          stopListening();
          app.close();
        },
      });
    });
  });
}

/**
 * Calls `onChange` with 1 for each connection that opens and -1 for each that ends. `close` ends the one that opened. There is nothing by which
 * an ending could be told from another, nor a request be matched to its connection: they can be counted, not followed.
 */
export function watchConnections(app: TemplatedApp, onChange: (change: 1 | -1, close: () => void) => void): void {
  // The typings lack it.
  const filter: unknown = Reflect.get(app, 'filter');
  assert(typeof filter === 'function', 'a uWS app filters connections');
  Reflect.apply(filter, app, [
    (res: HttpResponse, change: number) => onChange(change > 0 ? 1 : -1, () => void res.close()),
  ]);
}

/** The native call takes (host, port, options, callback); the typings have either the host or the options. */
function listenWith(
  app: TemplatedApp,
  host: string,
  port: number,
  options: number,
  onListening: (socket: uWS.us_listen_socket | false) => void,
): void {
  const listenOn: unknown = Reflect.get(app, 'listen');
  assert(typeof listenOn === 'function', 'a uWS app listens');
  Reflect.apply(listenOn, app, [host, port, options, onListening]);
}

/** LIBUS_LISTEN_DEFAULT (SO_REUSEPORT) and LIBUS_LISTEN_EXCLUSIVE_PORT; the typings declare an enum that does not exist at run time. */
const SHARED_PORT = 0;
const EXCLUSIVE_PORT = 1;
