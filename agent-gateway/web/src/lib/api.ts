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

export async function request<T>(method: string, path: string, body?: unknown, signal?: AbortSignal, key?: string): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (method === 'POST') headers['Idempotency-Key'] = key ?? crypto.randomUUID();
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  let response: Response;
  try {
    response = await fetch(`/api/v1/${path}`, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      credentials: 'same-origin',
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, 'offline', String(error), undefined, undefined, undefined);
  }
  const text = await response.text();
  let parsed: unknown;
  try {
    parsed = text ? JSON.parse(text) : undefined;
  } catch {
    parsed = undefined;
  }
  if (response.ok) return parsed as T;
  const problem = (parsed ?? {}) as { title?: string; detail?: string; field?: string };
  const after = Number(response.headers.get('Retry-After'));
  throw new ApiError(
    response.status,
    problem.title ?? response.statusText,
    problem.detail ?? '',
    problem.field,
    after > 0 ? after : undefined,
    parsed,
  );
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
