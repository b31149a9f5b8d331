import uWS, { type TemplatedApp } from 'uWebSockets.js';
import assert from 'node:assert';
import { PlatformError } from '@guidon/protocol';

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

/** One port, one process: a taken port rejects with `conflict`, it is not a share of somebody else's requests. */
export function listen(app: TemplatedApp, host: string, port: number): Promise<ListeningApp> {
  return new Promise((resolve, reject) => {
    listenExclusively(app, host, port, (socket) => {
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

/** The native call takes (host, port, options, callback); the typings have either the host or the options. */
function listenExclusively(
  app: TemplatedApp,
  host: string,
  port: number,
  onListening: (socket: uWS.us_listen_socket | false) => void,
): void {
  const listenOn: unknown = Reflect.get(app, 'listen');
  assert(typeof listenOn === 'function', 'a uWS app listens');
  Reflect.apply(listenOn, app, [host, port, EXCLUSIVE_PORT, onListening]);
}

/** LIBUS_LISTEN_EXCLUSIVE_PORT; the typings declare it in an enum that does not exist at run time. */
const EXCLUSIVE_PORT = 1;
