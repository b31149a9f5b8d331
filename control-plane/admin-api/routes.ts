import type { FastifyInstance } from 'fastify';
import type { ControlPlaneCore } from '../core.js';
import { ENVIRONMENT_CONTENT_SOURCES } from '../environments/new-environment-content.js';
import { flagEnvironmentContent } from '../flags/flag-environment-content.js';
import { registerFlagRoutes } from '../flags/flag-routes.js';
import { registerTargetingRoutes } from '../flags/targeting-routes.js';
import { registerProjectRoutes } from '../projects/project-routes.js';

// Once per process, however many control planes it runs.
ENVIRONMENT_CONTENT_SOURCES.push(flagEnvironmentContent);

/** Every noun's routes. */
export function registerRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  registerProjectRoutes(app, core);
  registerFlagRoutes(app, core);
  registerTargetingRoutes(app, core);
}
