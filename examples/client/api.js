// The HTTP side: where the API is, its three lists, and the three ways to change a slot.

const STORED = "scheduler-api";
const TIMEOUT = 30_000;

// The API's address: ?api=… (remembered), else what was remembered, else this host's port 8001.
export function findBase() {
  const asked = new URLSearchParams(location.search).get("api")?.trim();
  if (asked === "") remember("");
  const named = asked ? normalise(asked) : null;
  if (named) remember(named);
  return {
    base: named ?? normalise(remembered()) ?? `${location.protocol}//${location.hostname}:8001`,
    error: asked && !named ? `“${asked}” is not an http or https address.` : "",
  };
}

function normalise(text) {
  if (!text) return null;
  // "localhost:8001" is what people type; by itself it would parse as the scheme "localhost:".
  const full = /^[a-z]+:\/\//i.test(text) ? text : `${location.protocol}//${text}`;
  try {
    const url = new URL(full);
    if (!/^https?:$/.test(url.protocol)) return null;
    return (url.origin + url.pathname).replace(/\/+$/, "");
  } catch {
    return null;
  }
}

// Storage throws where the browser blocks it; the page then only forgets.
function remembered() {
  try {
    return localStorage.getItem(STORED) ?? "";
  } catch {
    return "";
  }
}

function remember(base) {
  try {
    if (base) localStorage.setItem(STORED, base);
    else localStorage.removeItem(STORED);
  } catch {
    // See above.
  }
}

// An answer that is not 2xx, or none at all (status 0).
export class ApiError extends Error {
  constructor(status, { detail, errors = [] }, headers = new Headers()) {
    super(detail);
    this.status = status;
    this.errors = errors; // [{ pointer: "#/interview/student", detail: "…" }]
    this.retryAfter = headers.get("Retry-After");
    this.requestId = headers.get("X-Request-ID");
  }
}

export function createApi(base) {
  async function send(method, path, { body, headers, cache } = {}) {
    let response;
    try {
      response = await fetch(base + path, {
        method,
        headers: body ? { "Content-Type": "application/json", ...headers } : headers,
        body: body && JSON.stringify(body),
        cache,
        signal: AbortSignal.timeout(TIMEOUT),
      });
    } catch (error) {
      throw new ApiError(0, { detail: whyNoAnswer(base, error) });
    }
    if (response.ok) return response;
    // A proxy in between may answer with HTML; then the status has to do.
    const problem = await response.json().catch(() => ({}));
    const detail = problem.detail || `The server answered ${response.status}.`;
    throw new ApiError(response.status, { ...problem, detail }, response.headers);
  }

  async function read(path) {
    const response = await send("GET", path);
    try {
      return await response.json();
    } catch {
      throw new ApiError(0, { detail: `What ${base}${path} answers is not JSON, or broke off.` });
    }
  }

  // No PUT is ever answered from a cache. But where it sees If-…, a browser sets all caching
  // aside unless told otherwise, and with it what it knows of preflights: one more round trip.
  const put = (id, interview, headers) =>
    send("PUT", `/api/appointments/${id}`, { body: { interview }, headers, cache: "force-cache" });

  return {
    days: () => read("/api/days"),
    appointments: () => read("/api/appointments"),
    interviewers: () => read("/api/interviewers"),
    // Only a free slot: 412 where somebody was faster.
    book: (id, interview) => put(id, interview, { "If-None-Match": "*" }),
    // Only a booked slot: 412 where it has been cancelled meanwhile.
    edit: (id, interview) => put(id, interview, { "If-Match": "*" }),
    cancel: (id) => send("DELETE", `/api/appointments/${id}`),
  };
}

// The browser hides from scripts why a request failed, so name what it may have been.
function whyNoAnswer(base, error) {
  if (error.name === "TimeoutError") return `No answer from ${base} within 30 seconds.`;
  if (location.protocol === "https:" && base.startsWith("http:")) {
    return `No answer from ${base}. From an https page, a browser calls https addresses only.`;
  }
  const origin = location.origin;
  return `No answer from ${base}. Is the server running, and do its CORS_ORIGINS allow ${origin}?`;
}
