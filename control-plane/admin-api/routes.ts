import type { FastifyInstance } from 'fastify';
import type { ControlPlaneCore } from '../core.js';
import { registerProjectRoutes } from '../projects/project-routes.js';

/** Every noun's routes. */
export function registerRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  registerProjectRoutes(app, core);
}
