import assert from 'node:assert/strict';
import { findOption, isQuick } from '../support/arguments.js';
import { BenchNode } from '../support/bench-node.js';
import { BenchProcess } from '../support/bench-process.js';
import { httpRequest } from '../support/http-request.js';
import { RawConnection } from '../support/raw-connection.js';
import { median, rounded } from '../support/statistics.js';
import { AnswerChecker } from './answer-checker.js';
import type { EchoAnswer } from './echo-process.js';
import { type Generator, generatorOf, isWrkThere, type Window } from './generators.js';
import { evaluationCount, HTTP_ENVIRONMENTS, type HttpCase, httpCases } from './http-cases.js';
import { SmugglingProbe } from './smuggling-probe.js';

/**
 * Requests per second over HTTP, each case beside a bare uWebSockets.js echo with the same requests and answers of the same size. Node
 * and echo are processes of their own and take turns, so that drift of the machine touches both alike; medians of the rounds are
 * printed. While the node is under load one answer in 1 000 is held against the reference evaluator and smuggled requests must be
 * refused. `--quick` runs one short round of one load of each; `--only TEXT` takes the cases whose name has it.
 */
const ROUND_COUNT = isQuick ? 1 : 5;
const WINDOW_SECONDS = isQuick ? 1 : 2;
/** The first seconds of a process run in V8's interpreter. */
const WARM_UP_SECONDS = isQuick ? 1 : 3;

/** A window as the generator saw it, with the processor time of the process that was asked. */
interface Measured extends Window {
  readonly cpuServer: number;
  /** Processor time of one request, microseconds: unlike requests per second it does not depend on what else the machine does. */
  readonly serverMicros: number;
}

interface Row extends Measured {
  readonly name: string;
  readonly generator: HttpCase['generator'];
  readonly connections: number;
  readonly pipelining: number;
  readonly evalsPerSecond: number;
  readonly echoRps: number;
  readonly echoMicros: number;
  /** Median over the rounds of requests per second by those of the echo. */
  readonly ratio: number;
  /** Answers that were compared with the reference evaluator. */
  readonly checked: number;
  /** Smuggled requests, all refused. */
  readonly refused: number;
}

async function measure(target: BenchProcess<{ port: number }>, generate: Generator): Promise<Measured> {
  const before = target.cpuSeconds();
  const window = await generate(target.ready.port, WINDOW_SECONDS);
  const cpuServer = (target.cpuSeconds() - before) / WINDOW_SECONDS;
  return { ...window, cpuServer, serverMicros: (cpuServer / window.rps) * 1e6 };
}

async function runCase(
  node: BenchNode,
  echo: BenchProcess<{ port: number }>,
  httpCase: HttpCase,
  isFirst: boolean,
): Promise<Row> {
  const token = node.tokenOf(httpCase.environment);
  const { port } = node;
  const answer: EchoAnswer = {
    bytes: await answerBytes(port, httpCase, token),
    contentType: `application/${httpCase.format}`,
  };
  await echo.ask(answer);
  const generate = generatorOf(httpCase, token, node.folder);
  if (isFirst) for (const warmed of [node.process, echo]) await generate(warmed.ready.port, WARM_UP_SECONDS);
  const checker = await AnswerChecker.open(port, httpCase, token);
  const probe = new SmugglingProbe(port, httpCase, token);
  const ours: Measured[] = [];
  const theirs: Measured[] = [];
  for (let round = 0; round < ROUND_COUNT; round += 1) {
    const bare = await measure(echo, generate);
    theirs.push(bare);
    checker.start(bare.rps);
    probe.start();
    ours.push(await measure(node.process, generate));
    checker.pause();
    await probe.stop();
  }
  await checker.stop();
  const of = (windows: readonly Measured[], member: keyof Measured) => median(windows.map((window) => window[member]));
  const evaluations = httpCase.questions.map(evaluationCount);
  const rps = of(ours, 'rps');
  const { name, generator, connections, pipelining } = httpCase;
  return {
    name,
    generator,
    connections,
    pipelining,
    rps: Math.round(rps),
    evalsPerSecond: Math.round(rps * (evaluations[0] ?? 0)),
    p50Ms: rounded(of(ours, 'p50Ms')),
    p99Ms: rounded(of(ours, 'p99Ms')),
    p999Ms: rounded(of(ours, 'p999Ms')),
    cpuServer: rounded(of(ours, 'cpuServer')),
    cpuGenerator: rounded(of(ours, 'cpuGenerator')),
    serverMicros: rounded(of(ours, 'serverMicros'), 2),
    echoMicros: rounded(of(theirs, 'serverMicros'), 2),
    echoRps: Math.round(of(theirs, 'rps')),
    ratio: rounded(median(ours.map((window, index) => window.rps / (theirs[index]?.rps ?? Number.NaN)))),
    checked: checker.checkedCount,
    refused: probe.refusedCount,
  };
}

/** One load of each name and generator. */
function firstLoads(all: readonly HttpCase[]): HttpCase[] {
  const keyOf = ({ name, generator }: HttpCase) => `${name} ${generator}`;
  return all.filter((one) => all.find((other) => keyOf(other) === keyOf(one)) === one);
}

/** Bytes of the body that answers the first question. */
async function answerBytes(port: number, httpCase: HttpCase, token: string): Promise<number> {
  const [question] = httpCase.questions;
  assert(question !== undefined, 'a case asks something');
  const { path, format } = httpCase;
  const connection = await RawConnection.open(port);
  const bytes = await new Promise<number>((resolve, reject) => {
    connection.send(httpRequest(question.body, { path, format, token }), (status, body) => {
      if (status === 200) resolve(body.length);
      else reject(new Error(`${httpCase.name} answered ${status}: ${body.toString()}`));
    });
  });
  connection.close();
  return bytes;
}

const only = findOption('only') ?? '';
const hasWrk = isWrkThere();
if (!hasWrk)
  console.error('wrk is missing, its cases are left out: install it (Debian: apt-get install wrk) and run this again.');
const wanted = httpCases().filter(({ name, generator }) => name.includes(only) && (hasWrk || generator !== 'wrk'));
const cases = isQuick ? firstLoads(wanted) : wanted;
const node = await BenchNode.start(HTTP_ENVIRONMENTS);
const echo = await BenchProcess.start<{ port: number }>('http/echo-process.js', []);
try {
  const rows: Row[] = [];
  for (const httpCase of cases) {
    const row = await runCase(node, echo, httpCase, rows.length === 0);
    rows.push(row);
    console.error(`${row.name} ${row.generator} ${row.connections}x${row.pipelining}: ${row.rps}, ${row.ratio}`);
  }
  console.table(rows);
  console.log(JSON.stringify({ http: rows }));
} finally {
  await Promise.all([node.stop(), echo.stop()]);
}
