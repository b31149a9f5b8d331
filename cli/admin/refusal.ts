import { ERROR_CODES, type ErrorCode, type Issue, PlatformError } from '@guidon/protocol';
import { printableText } from '../options/print-table.js';

/** What is read of a problem document; a proxy in between may answer with anything. */
interface ReceivedProblem {
  readonly code?: unknown;
  readonly detail?: unknown;
  readonly errors?: unknown;
}

/** One sentence of what the control plane refused: the code, what is wrong, and where in what was sent. */
export function refusalFrom(request: string, status: number, body: string): PlatformError {
  const { code, detail, errors } = parseProblem(body);
  if (!isErrorCode(code) || typeof detail !== 'string') {
    const doubt = 'without a problem document: does a control plane answer there?';
    return new PlatformError('internal', `${request} was answered ${status} ${doubt}`);
  }
  const places = Array.isArray(errors) ? errors.filter(isIssue) : [];
  const where = places.map(({ pointer, detail: reason }) => `${pointer === '' ? 'the whole' : pointer}: ${reason}`);
  const list = where.length === 0 ? '' : ` (${where.join('; ')})`;
  return new PlatformError(code, printableText(`${request} was refused: ${status} ${code}: ${detail}${list}`));
}

function parseProblem(body: string): ReceivedProblem {
  try {
    return Object(JSON.parse(body));
  } catch {
    return {};
  }
}

const isErrorCode = (code: unknown): code is ErrorCode => typeof code === 'string' && Object.hasOwn(ERROR_CODES, code);

function isIssue(value: unknown): value is Issue {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof Reflect.get(value, 'pointer') === 'string' &&
    typeof Reflect.get(value, 'detail') === 'string'
  );
}
