import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join, normalize, relative, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseSync } from 'oxc-parser';
import { MAY_IMPORT, MAY_IMPORT_FILES, ONLY_IN, OWN_PACKAGES, PUBLIC_SUBPATHS } from './import-rules.js';

/** Returns one sentence per import in `root` that breaks a rule of import-rules.ts, and one per import cycle. */
export function findImportViolations(root: string): string[] {
  const workspaces = [...new Set(Object.keys(MAY_IMPORT).map((folder) => folder.split('/')[0] ?? folder))];
  const violations: string[] = [];
  for (const workspace of workspaces) {
    const graph = new Map<string, string[]>();
    for (const file of sourceFiles(join(root, workspace))) {
      const path = relative(root, file).split(sep).join('/');
      const targets: string[] = [];
      const packageFolder = packageFolderOf(path, workspace);
      const declared = declaredDependencies(join(root, packageFolder));
      for (const specifier of importsOf(file)) {
        if (specifier.startsWith('.')) targets.push(normalize(join(dirname(path), specifier)).replace(/\.js$/, '.ts'));
        const complaint = findComplaint(path, workspace, specifier, packageFolder, declared);
        if (complaint !== undefined) violations.push(`${path}: ${complaint}`);
      }
      graph.set(path, targets);
    }
    violations.push(...findCycles(graph));
  }
  return violations;
}

function findComplaint(
  path: string,
  workspace: string,
  specifier: string,
  packageFolder: string,
  declared: ReadonlySet<string>,
): string | undefined {
  if (specifier.startsWith('.')) {
    const target = normalize(join(dirname(path), specifier))
      .split(sep)
      .join('/');
    // `sdk` is a folder of packages that do not reach into each other; `bench` is a package itself, around another one.
    const home = Object.hasOwn(MAY_IMPORT, workspace) ? workspace : packageFolder;
    return target.startsWith(`${home}/`) ? undefined : `'${specifier}' leaves ${home}; import its package`;
  }
  if (isBuiltin(specifier)) return undefined;
  const packageName = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
  const owner = ONLY_IN[packageName];
  if (owner !== undefined && owner !== workspace) return `'${packageName}' may be named in ${owner} alone`;
  if (!declared.has(packageName)) return `'${packageName}' is not a dependency of ${packageFolder}/package.json`;
  if (!packageName.startsWith('@guidon/')) return undefined;
  const allowed = MAY_IMPORT[ruleFor(path)] ?? [];
  if (!allowed.includes(packageName.slice('@guidon/'.length)))
    return `${ruleFor(path)} may not import '${packageName}'`;
  const isFileImport = specifier !== packageName && !PUBLIC_SUBPATHS.has(specifier);
  return isFileImport && !MAY_IMPORT_FILES.has(workspace)
    ? `'${specifier}': import the package, not a file of it`
    : undefined;
}

/** A folder with rules of its own may be a package of its own, too. */
function packageFolderOf(path: string, workspace: string): string {
  return OWN_PACKAGES.find((folder) => path.startsWith(`${folder}/`)) ?? workspace;
}

function ruleFor(path: string): string {
  const matching = Object.keys(MAY_IMPORT).filter((folder) => path.startsWith(`${folder}/`));
  return matching.sort((a, b) => b.length - a.length)[0] ?? '';
}

/** Static, dynamic and re-exporting imports, type-only ones included. */
function importsOf(file: string): string[] {
  const source = readFileSync(file, 'utf8');
  const { module, errors } = parseSync(file, source);
  if (errors.length > 0) throw new Error(`${file} does not parse: ${errors[0]?.message}`);
  const dynamic = module.dynamicImports
    .map(({ moduleRequest }) => /^['"](.*)['"]$/.exec(source.slice(moduleRequest.start, moduleRequest.end))?.[1])
    .filter((specifier) => specifier !== undefined);
  const reExports = module.staticExports.flatMap(({ entries }) =>
    entries.map(({ moduleRequest }) => moduleRequest?.value).filter((specifier) => specifier !== undefined),
  );
  return [...module.staticImports.map(({ moduleRequest }) => moduleRequest.value), ...reExports, ...dynamic];
}

function findCycles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const cycles: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path);
    if (at >= 0) {
      cycles.push(`import cycle: ${[...trail.slice(at), path].join(' -> ')}`);
      return;
    }
    if (done.has(path)) return;
    for (const target of graph.get(path) ?? []) visit(target, [...trail, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  return cycles;
}

function declaredDependencies(workspace: string): Set<string> {
  const manifestPath = join(workspace, 'package.json');
  if (!existsSync(manifestPath)) return new Set();
  const manifest: Partial<Record<'dependencies' | 'devDependencies' | 'peerDependencies', object>> = JSON.parse(
    readFileSync(manifestPath, 'utf8'),
  );
  const { dependencies, devDependencies, peerDependencies } = manifest;
  const shared = workspace.endsWith('test') ? ['vitest', 'rolldown'] : [];
  return new Set([...Object.keys({ ...dependencies, ...devDependencies, ...peerDependencies }), ...shared]);
}

function sourceFiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name) && !entry.name.endsWith('.d.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !/[/\\](dist|node_modules)[/\\]/.test(path));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const violations = findImportViolations(process.cwd());
  for (const violation of violations) console.error(violation);
  console.log(`check-imports: ${violations.length} violations`);
  process.exitCode = violations.length === 0 ? 0 : 1;
}
