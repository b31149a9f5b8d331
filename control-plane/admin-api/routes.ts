import type { FastifyInstance } from 'fastify';
import { registerArchiveFileRoutes } from '../archives/archive-routes.js';
import { registerAuditRoutes } from '../audit/audit-routes.js';
import { registerWitnessRoutes } from '../audit/witness-routes.js';
import { registerChangeRoutes } from '../changes/change-routes.js';
import type { ControlPlaneCore } from '../core.js';
import { registerCredentialRoutes } from '../credentials/credential-routes.js';
import { registerPersonalTokenRoutes } from '../credentials/personal-token-routes.js';
import { registerPlatformCredentialRoutes } from '../credentials/platform-credential-routes.js';
import { registerEnvironmentRoutes } from '../environments/environment-routes.js';
import { registerFlagUsageRoutes } from '../events/flag-usage-routes.js';
import { registerRolloutImpactRoutes } from '../events/rollout-impact-routes.js';
import { registerFeedRoutes } from '../feed/feed-routes.js';
import type { FeedWaiters } from '../feed/feed-waiters.js';
import { registerFlagHealthRoutes } from '../flag-health/flag-health-routes.js';
import { flagEnvironmentContent } from '../flags/flag-environment-content.js';
import { registerFlagRoutes } from '../flags/flag-routes.js';
import { registerTargetingRoutes } from '../flags/targeting-routes.js';
import type { RequestRates } from '../limits/request-rates.js';
import { registerUsageRoutes } from '../limits/usage-routes.js';
import { registerMemberRoutes } from '../members/member-routes.js';
import { registerNodeRoutes } from '../nodes/node-routes.js';
import { registerManifestRoutes } from '../openfeature/manifest-routes.js';
import { registerPersonRoutes } from '../people/person-routes.js';
import { registerProjectRoutes } from '../projects/project-routes.js';
import { registerRevisionRoutes } from '../revisions/revision-routes.js';
import { registerPermissionRoutes } from '../roles/permission-routes.js';
import { registerRoleRoutes } from '../roles/role-routes.js';
import { registerSegmentKeysRoutes } from '../segments/segment-keys-routes.js';
import { registerSegmentRoutes } from '../segments/segment-routes.js';
import { registerSigningKeyRoutes } from '../signing-keys/signing-key-routes.js';
import { registerTenantRoutes } from '../tenants/tenant-routes.js';
import { registerTriggerRoutes } from '../triggers/trigger-routes.js';
import type { ResourceReader } from './resource-reader.js';

/** Every noun's routes. */
export function registerRoutes(
  app: FastifyInstance,
  core: ControlPlaneCore,
  {
    resources,
    rates,
    feedWaiters,
  }: { readonly resources: ResourceReader; readonly rates: RequestRates; readonly feedWaiters: FeedWaiters },
): void {
  registerTenantRoutes(app, core);
  registerUsageRoutes(app, core, rates);
  registerArchiveFileRoutes(app, core);
  registerProjectRoutes(app, core);
  registerEnvironmentRoutes(app, core, [flagEnvironmentContent]);
  registerCredentialRoutes(app, core);
  registerPlatformCredentialRoutes(app, core);
  registerAuditRoutes(app, core);
  registerWitnessRoutes(app, core);
  registerFeedRoutes(app, core, feedWaiters);
  registerRevisionRoutes(app, core);
  registerFlagRoutes(app, core);
  registerFlagUsageRoutes(app, core);
  registerRolloutImpactRoutes(app, core);
  registerFlagHealthRoutes(app, core);
  registerTriggerRoutes(app, core, resources);
  registerTargetingRoutes(app, core);
  registerManifestRoutes(app, core, resources);
  registerSegmentRoutes(app, core);
  registerSegmentKeysRoutes(app, core);
  registerChangeRoutes(app, core);
  registerNodeRoutes(app, core);
  registerRoleRoutes(app, core);
  registerPermissionRoutes(app, core, resources);
  registerPersonRoutes(app, core);
  registerMemberRoutes(app, core);
  registerPersonalTokenRoutes(app, core);
  registerSigningKeyRoutes(app, core);
}
