import { HealthServer } from '@guidon/server/metrics/health-server.js';
import pino from 'pino';
import { describe, expect, it } from 'vitest';

describe('HealthServer', () => {
  it('answers 500 and says why when the metrics cannot be rendered', async () => {
    const lines: string[] = [];
    const health = await HealthServer.listen({
      host: '127.0.0.1',
      port: 0,
      metrics: { render: () => Promise.reject(new Error('a gauge is broken')) },
      logger: pino({}, { write: (line: string) => void lines.push(line) }),
      isLive: () => true,
      isReady: () => true,
      details: () => [],
    });
    try {
      expect((await fetch(`http://127.0.0.1:${health.port}/metrics`)).status).toBe(500);
      expect(lines.join('')).toContain('a gauge is broken');
    } finally {
      await health.close();
    }
  });
});
