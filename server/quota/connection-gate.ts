import type { TemplatedApp } from 'uWebSockets.js';
import { watchConnections } from '../uws-app.js';

/** Bounds the open connections of the whole process (I25): one too many is closed as it opens, before it costs more than a descriptor. */
export class ConnectionGate {
  openCount = 0;
  refusedCount = 0;

  /** A WebSocket ended: uWS tells of the end of HTTP connections alone. */
  leave(): void {
    this.openCount -= 1;
  }

  constructor(app: TemplatedApp, countMax: number) {
    watchConnections(app, (change, close) => {
      this.openCount += change;
      if (change < 0 || this.openCount <= countMax) return;
      this.refusedCount += 1;
      close();
    });
  }
}
