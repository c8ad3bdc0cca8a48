import { i18n, t } from './i18n/index.svelte';

/** HTTP: `application/problem+json` becomes `ApiError`; a server that does not answer becomes one with status 0. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly field: string | undefined,
    /** Seconds to wait, where the server said so. */
    readonly retryAfterS: number | undefined,
    /** The whole answer; a 409 carries the record's current version in `current`. */
    readonly body: unknown,
  ) {
    super(detail || title || `HTTP ${status}`);
  }
}

const TIMEOUT_MS = 15_000;
/** A server that is started again is back within a second or two: what may be sent twice is tried again for that long. */
const WAITS_MS = [250, 500, 1_000, 1_500, 2_000] as const;

export async function request<T>(method: string, path: string, body?: unknown, signal?: AbortSignal, key?: string): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json', 'Accept-Language': i18n.locale };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (method === 'POST') headers['Idempotency-Key'] = key ?? crypto.randomUUID();
  const init: RequestInit = { method, headers, body: body === undefined ? null : JSON.stringify(body), credentials: 'same-origin' };
  for (const wait of WAITS_MS) {
    try {
      return await once<T>(path, init, signal);
    } catch (error) {
      // A PATCH that was done and is sent again would find its own change, and call it a conflict.
      if (!(error instanceof ApiError) || !passes(error) || method === 'PATCH') throw error;
      await pause(Math.max(wait * (0.5 + Math.random()), (error.retryAfterS ?? 0) * 1_000), signal);
    }
  }
  return await once<T>(path, init, signal);
}

/** Whether the next try may well be answered: the server starts, is busy, or still works on the first try. */
function passes(error: ApiError): boolean {
  const type = (error.body as { type?: string } | undefined)?.type ?? '';
  const soon = (error.retryAfterS ?? 0) <= 2;
  return error.title === 'offline' || (error.status === 503 && soon) || (error.status === 409 && type.endsWith(':still_running'));
}

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

async function once<T>(path: string, init: RequestInit, signal?: AbortSignal): Promise<T> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  let response: Response;
  let text: string;
  try {
    response = await fetch(`/api/v1/${path}`, { ...init, signal: signal ? AbortSignal.any([signal, timeout]) : timeout });
    // A server that ends in the middle of its answer has not answered.
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, timeout.aborted ? 'timeout' : 'offline', t('app.no_answer'), undefined, undefined, undefined);
  }
  let parsed: unknown;
  try {
    parsed = text ? JSON.parse(text) : undefined;
  } catch {
    parsed = undefined;
  }
  if (response.ok) return parsed as T;
  const problem = (parsed ?? {}) as { title?: string; detail?: string; field?: string };
  const after = Number(response.headers.get('Retry-After'));
  const detail = response.status === 503 ? t('app.no_answer') : (problem.detail ?? '');
  throw new ApiError(response.status, problem.title ?? response.statusText, detail, problem.field, after > 0 ? after : undefined, parsed);
}

export const get = <T>(path: string, signal?: AbortSignal): Promise<T> => request<T>('GET', path, undefined, signal);
/** `key`: the Idempotency-Key of work that may be sent twice. */
export const post = <T>(path: string, body: unknown, key?: string): Promise<T> => request<T>('POST', path, body, undefined, key);
export const patch = <T>(path: string, body: unknown): Promise<T> => request<T>('PATCH', path, body);
export const del = <T>(path: string): Promise<T> => request<T>('DELETE', path);

/** A query string without the parameters that have no value. */
export function query(params: Record<string, string | number | null | undefined>): string {
  const q = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== '') q.set(name, String(value));
  }
  const text = q.toString();
  return text ? `?${text}` : '';
}
