import type { FlagDefinition } from '@guidon/engine';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { listPage, listQuerySchema, pageSchema } from '../admin-api/pagination.js';
import { environmentParams } from '../admin-api/params.js';
import { registerRoute } from '../admin-api/register-route.js';
import type { DefinitionName } from '../commit/definition-history.js';
import type { ControlPlaneCore } from '../core.js';
import { getEnvironment } from '../environments/environment-read-model.js';
import { keys } from '../store/keys.js';
import { bisectBody, bisectedSchema, evaluateAsOfBody, evaluatedAsOfSchema } from './evaluate-input.js';
import { EvaluateService } from './evaluate-service.js';
import { RestoreService, restoreBody, restoreReplySchema } from './restore-service.js';
import { RevisionService } from './revision-service.js';
import {
  comparisonSchema,
  pastFlagSchema,
  pastFlagSummarySchema,
  revisionSchema,
  shownRevisionSchema,
  viewRevision,
} from './revision-view.js';

const ENVIRONMENT = '/api/v1/tenants/:tenantId/projects/:projectKey/environments/:environmentKey';
const REVISIONS = `${ENVIRONMENT}/revisions`;
const REVISION = `${REVISIONS}/:revision`;

const revisionNumberSchema = z.coerce.number().int().min(1);
const revisionParams = environmentParams.extend({ revision: revisionNumberSchema });

export function registerRevisionRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  const { store } = core;
  const service = new RevisionService(core);

  registerRoute(app, {
    method: 'GET',
    url: REVISIONS,
    operationId: 'listRevisions',
    tag: 'revisions',
    summary: 'List what changed in an environment, newest first',
    action: 'revision.list',
    params: environmentParams,
    query: listQuerySchema,
    isList: true,
    replies: { 200: pageSchema(revisionSchema) },
    handle: ({ params, query }) => {
      const { environment } = getEnvironment(store, params);
      return {
        status: 200,
        body: listPage(store, keys.revisions(environment), query, viewRevision, { reverse: true }),
      };
    },
  });

  registerRoute(app, {
    method: 'GET',
    url: REVISION,
    operationId: 'getRevision',
    tag: 'revisions',
    summary: 'Read a revision: who, when, why, and what changed',
    description: 'Every revision that was ever made. Only what it served is let go, a long time later (`isKept`).',
    action: 'revision.read',
    params: revisionParams,
    replies: { 200: shownRevisionSchema },
    handle: ({ params }) => service.read(params, params.revision),
  });

  registerRoute(app, {
    method: 'GET',
    url: `${REVISION}/flags`,
    operationId: 'listRevisionFlags',
    tag: 'revisions',
    summary: 'List the flags that a revision served',
    action: 'revision.read',
    params: revisionParams,
    query: listQuerySchema,
    isList: true,
    isHistory: true,
    replies: { 200: pageSchema(pastFlagSummarySchema) },
    handle: ({ params, query }) => {
      const { revision } = params;
      const past = service.past(params, revision);
      const view = ({ key }: DefinitionName) => viewSummary(past.find('flag', key, revision));
      const keep = (name: DefinitionName) => past.findEntry(name, revision) !== undefined;
      const names = keys.definitionNames(past.environment, 'flag');
      return { status: 200, body: listPage(store, names, query, view, { keep }) };
    },
  });

  registerRoute(app, {
    method: 'GET',
    url: `${REVISION}/flags/:flagKey`,
    operationId: 'getRevisionFlag',
    tag: 'revisions',
    summary: 'Read a flag as a revision served it',
    action: 'revision.read',
    params: revisionParams.extend({ flagKey: z.string() }),
    isHistory: true,
    replies: { 200: pastFlagSchema },
    handle: ({ params }) => service.readFlag(params, params.revision, params.flagKey),
  });

  registerRoute(app, {
    method: 'GET',
    url: `${REVISION}/diff`,
    operationId: 'compareRevisions',
    tag: 'revisions',
    summary: 'Compare a revision with any other: what going from it to `with` changes',
    action: 'revision.read',
    params: revisionParams,
    query: z.strictObject({ with: revisionNumberSchema }),
    isHistory: true,
    replies: { 200: comparisonSchema },
    handle: ({ params, query }) => service.diff(params, params.revision, query.with),
  });

  const restores = new RestoreService(core);
  registerRoute(app, {
    method: 'POST',
    url: `${REVISION}/restore`,
    operationId: 'restoreRevision',
    tag: 'revisions',
    summary: 'Serve again what a revision served, as a new revision: everything or one flag',
    description:
      'If-Match is the revision in force in quotes, such as "7". Targeting, segments and their keys come back; salts stay, so every bucket does. Archived and deleted things do not.',
    action: 'environment.change',
    params: revisionParams,
    body: restoreBody,
    changesExisting: true,
    isHistory: true,
    replies: { 200: restoreReplySchema },
    handle: ({ params, body, write }) => restores.restore(write, params, params.revision, body),
  });

  registerQuestions(app, core);
}

/** Questions to the past. They change nothing: a dry run of one is the same. */
function registerQuestions(app: FastifyInstance, core: ControlPlaneCore): void {
  const questions = new EvaluateService(core);

  registerRoute(app, {
    method: 'POST',
    url: `${ENVIRONMENT}/evaluate-as-of`,
    operationId: 'evaluateAsOf',
    tag: 'revisions',
    summary: 'Evaluate a context as it was at a revision or a time, and why',
    description: 'With the segments and prerequisites of that revision, exactly as a node that had it answered.',
    action: 'revision.evaluate',
    params: environmentParams,
    body: evaluateAsOfBody,
    isHistory: true,
    replies: { 200: evaluatedAsOfSchema },
    handle: ({ params, body }) => questions.evaluateAsOf(params, body),
  });

  registerRoute(app, {
    method: 'POST',
    url: `${ENVIRONMENT}/bisect`,
    operationId: 'bisectRevisions',
    tag: 'revisions',
    summary: 'Find every revision at which the answer of a flag to a context became another',
    description: 'Evaluates where something changed that the flag depends on: itself, prerequisites, segments, keys.',
    action: 'revision.evaluate',
    params: environmentParams,
    body: bisectBody,
    isHistory: true,
    replies: { 200: bisectedSchema },
    handle: ({ params, body }) => questions.bisect(params, body),
  });
}

function viewSummary(flag: FlagDefinition | undefined) {
  if (flag === undefined) throw new Error('a flag of a revision is gone between two reads of it');
  const { key, type, clientSide, on, offVariation, fallthrough, rules } = flag;
  return { key, type, clientSide, on, offVariation, fallthrough, ruleCount: rules.length };
}
