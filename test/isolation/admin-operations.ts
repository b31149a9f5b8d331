/** What a test sends to an operation so that only permission and existence can be in its way. */
export interface OperationCase {
  readonly body?: unknown;
  readonly raw?: string;
  readonly contentType?: string;
  readonly query?: string;
}

const merge = (body: unknown): OperationCase => ({ body, contentType: 'application/merge-patch+json' });
const NOTHING: OperationCase = {};

/** Operations that need no credential: what they answer depends on what is in their bodies alone. */
export const PUBLIC_OPERATIONS: readonly string[] = [
  'completeSetup',
  'login',
  'acceptInvitation',
  'beginOidcLogin',
  'finishOidcLogin',
  'openBreakGlass',
];

/** By operationId. An operation of the OpenAPI document that is not here fails the suite: every new route gets a case. */
export const OPERATION_CASES: Readonly<Record<string, OperationCase>> = {
  completeSetup: { body: { token: 'no such token', name: 'n' } },
  login: { body: { email: 'nobody@example.com', password: 'nothing' } },
  logout: NOTHING,
  getOwnSession: NOTHING,
  listOwnSessions: NOTHING,
  endOwnSession: NOTHING,
  endOwnSessions: NOTHING,
  changeOwnPassword: { body: { currentPassword: 'x', newPassword: 'long enough to be one' } },
  openBreakGlass: { body: { assertion: 'nothing' } },
  beginOidcLogin: { body: {} },
  linkOwnIdentity: { body: {} },
  finishOidcLogin: NOTHING,
  listOwnTenants: NOTHING,
  joinTenant: { body: { token: 'no such token' } },
  listMembers: NOTHING,
  getMember: NOTHING,
  updateMember: merge({ roles: ['viewer'] }),
  removeMember: NOTHING,
  listInvitations: NOTHING,
  createInvitation: { body: { email: 'fresh@example.com', roles: ['viewer'] } },
  revokeInvitation: NOTHING,
  acceptInvitation: { body: { token: 'no such token', name: 'n', password: 'long enough to be one' } },
  listPersonalTokens: NOTHING,
  createPersonalToken: { body: { name: 'n' } },
  revokePersonalToken: NOTHING,
  listPeople: NOTHING,
  getPerson: NOTHING,
  updatePerson: merge({ name: 'n' }),
  listTenants: NOTHING,
  createTenant: { body: { key: 'fresh', name: 'n' } },
  getTenant: NOTHING,
  updateTenant: merge({ name: 'n' }),
  archiveTenant: NOTHING,
  unarchiveTenant: NOTHING,
  readTenantUsage: NOTHING,
  exportTenant: NOTHING,
  importTenant: { raw: 'no archive', contentType: 'application/gzip' },
  deleteTenant: { query: 'confirm=x' },
  listProjects: NOTHING,
  createProject: { body: { key: 'fresh', name: 'n' } },
  getProject: NOTHING,
  updateProject: merge({ name: 'n' }),
  archiveProject: NOTHING,
  unarchiveProject: NOTHING,
  listEnvironments: NOTHING,
  createEnvironment: { body: { key: 'fresh', name: 'n' } },
  getEnvironment: NOTHING,
  updateEnvironment: merge({ name: 'n' }),
  archiveEnvironment: NOTHING,
  unarchiveEnvironment: NOTHING,
  listRevisions: NOTHING,
  getRevision: NOTHING,
  listRevisionFlags: NOTHING,
  getRevisionFlag: NOTHING,
  compareRevisions: { query: 'with=1' },
  restoreRevision: { body: {} },
  evaluateAsOf: { body: { context: { targetingKey: 'member' }, flags: ['gate'], revision: 3 } },
  bisectRevisions: { body: { context: { targetingKey: 'member' }, flag: 'gate' } },
  listCredentials: NOTHING,
  createCredential: { body: { kind: 'srv', name: 'n' } },
  getCredential: NOTHING,
  updateCredential: merge({ name: 'n' }),
  revokeCredential: NOTHING,
  rotateCredential: { body: { overlapSeconds: 60 } },
  listFlags: NOTHING,
  createFlag: { body: { key: 'fresh', type: 'boolean' } },
  getFlag: NOTHING,
  updateFlag: merge({ name: 'n' }),
  archiveFlag: NOTHING,
  unarchiveFlag: NOTHING,
  deleteFlag: { query: 'force=true' },
  listTargetings: NOTHING,
  getTargeting: NOTHING,
  putTargeting: {
    body: {
      on: true,
      offVariation: 'off',
      prerequisites: [],
      targets: [],
      rules: [],
      fallthrough: { variation: 'off' },
    },
  },
  updateTargeting: merge({ on: false }),
  listSegments: NOTHING,
  createSegment: { body: { key: 'fresh' } },
  getSegment: NOTHING,
  updateSegment: merge({ name: 'n' }),
  archiveSegment: NOTHING,
  unarchiveSegment: NOTHING,
  deleteSegment: { query: 'force=true' },
  listSegmentKeys: NOTHING,
  editSegmentKeys: { body: { add: ['k'] } },
  createUpload: { body: { mode: 'add' } },
  getUpload: NOTHING,
  deleteUpload: NOTHING,
  putUploadPart: { raw: '"k"\n', contentType: 'application/x-ndjson' },
  completeUpload: NOTHING,
  applyChanges: { body: { changes: [{ op: 'targeting.patch', flag: 'gate', patch: { on: false } }] } },
  listSigningKeys: NOTHING,
  introduceSigningKey: NOTHING,
  activateSigningKey: NOTHING,
  revokeSigningKey: NOTHING,
  listNodeCredentials: NOTHING,
  createNodeCredential: { body: { name: 'n' } },
  revokeNodeCredential: NOTHING,
  listInstallationAdminCredentials: NOTHING,
  createInstallationAdminCredential: { body: { name: 'n' } },
  revokeInstallationAdminCredential: NOTHING,
  listAdminCredentials: NOTHING,
  createAdminCredential: { body: { name: 'n' } },
  revokeAdminCredential: NOTHING,
  listAuditEntries: NOTHING,
  exportAuditEntries: NOTHING,
  readAuditTreeHead: NOTHING,
  listAuditTreeHeads: NOTHING,
  proveAuditEntry: { query: 'sequence=1&size=1' },
  proveAuditGrowth: { query: 'first=1&second=1' },
  listInstallationAuditEntries: NOTHING,
  exportInstallationAuditEntries: NOTHING,
  readInstallationAuditTreeHead: NOTHING,
  listInstallationAuditTreeHeads: NOTHING,
  proveInstallationAuditEntry: { query: 'sequence=1&size=1' },
  proveInstallationAuditGrowth: { query: 'first=1&second=1' },
  readDigests: NOTHING,
  readConfig: NOTHING,
  readAccessList: NOTHING,
  readKeySet: NOTHING,
  readNewestTreeHeads: NOTHING,
  proveGrowthToNode: { query: 'owner=$&first=1&second=1' },
  reportNodeStatus: {
    body: {
      nodeId: 'node_1',
      session: 's',
      sequence: 1,
      isWhole: true,
      version: '1',
      store: 'ok',
      bus: 'none',
      streams: 0,
      lagMs: null,
      environments: [],
      removed: [],
    },
  },
  listNodes: NOTHING,
  readStatus: NOTHING,
  readPropagation: NOTHING,
  listRoles: NOTHING,
  createRole: {
    body: { key: 'fresh', name: 'n', statements: [{ effect: 'allow', actions: ['flag.read'], resources: ['*'] }] },
  },
  getRole: NOTHING,
  updateRole: merge({ name: 'n' }),
  deleteRole: NOTHING,
  readOwnPermissions: NOTHING,
};

/** One operation of the OpenAPI document, with what a test sends to it. */
export interface Operation {
  readonly operationId: string;
  readonly method: string;
  readonly path: string;
  readonly sent: OperationCase;
}

/** Every operation of the `paths` of an OpenAPI document, which the control plane makes of its routes. */
export function operationsOf(paths: Readonly<Record<string, Record<string, { operationId: string }>>>): Operation[] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { operationId }]) => {
      const sent = OPERATION_CASES[operationId] ?? {};
      return { operationId, method: method.toUpperCase(), path, sent };
    }),
  );
}
