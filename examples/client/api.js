// The HTTP API: its address, its three lists, and the three ways to change an appointment.

const STORAGE_KEY = "scheduler-api";
const TIMEOUT = 30_000; // ms

// Returns the API's address: that of ?api=… (which is then remembered), or the remembered one, or
// port 8001 of the host that serves this page.
export function findBase() {
  const given = new URLSearchParams(location.search).get("api")?.trim();
  if (given === "") remember("");
  const chosen = given ? normalise(given) : null;
  if (chosen) remember(chosen);
  return {
    base: chosen ?? normalise(remembered()) ?? `${location.protocol}//${location.hostname}:8001`,
    error: given && !chosen ? `“${given}” is not an http or https address.` : "",
  };
}

function normalise(text) {
  if (!text) return null;
  // People type "localhost:8001", which would parse as a URL with the scheme "localhost:".
  const full = /^[a-z]+:\/\//i.test(text) ? text : `${location.protocol}//${text}`;
  try {
    const url = new URL(full);
    if (!/^https?:$/.test(url.protocol)) return null;
    return (url.origin + url.pathname).replace(/\/+$/, "");
  } catch {
    return null;
  }
}

// If the browser blocks storage, it throws. The page then works without remembering.
function remembered() {
  try {
    return localStorage.getItem(STORAGE_KEY) ?? "";
  } catch {
    return "";
  }
}

function remember(base) {
  try {
    if (base) localStorage.setItem(STORAGE_KEY, base);
    else localStorage.removeItem(STORAGE_KEY);
  } catch {
    // See remembered().
  }
}

// A response with an error status, or no response at all (status 0).
export class ApiError extends Error {
  constructor(status, { detail, errors = [] }, headers = new Headers()) {
    super(detail);
    this.status = status;
    this.errors = errors; // [{ pointer: "#/interview/student", detail: "…" }]
    this.retryAfter = headers.get("Retry-After");
    this.requestId = headers.get("X-Request-ID");
  }

  // Whether the server, or its database, cannot be reached. Both are usually temporary.
  get isOutage() {
    return [0, 502, 503, 504].includes(this.status);
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
      throw new ApiError(0, { detail: explainNoResponse(base, error) });
    }
    if (response.ok) return response;
    // A proxy may respond with HTML. Then only the status is known.
    const problem = await response.json().catch(() => ({}));
    const detail = problem.detail || `The server responded with status ${response.status}.`;
    throw new ApiError(response.status, { ...problem, detail }, response.headers);
  }

  async function read(path) {
    const response = await send("GET", path);
    try {
      return await response.json();
    } catch {
      const detail = `The response from ${base}${path} is incomplete or is not JSON.`;
      throw new ApiError(0, { detail });
    }
  }

  // With an If-… header, fetch uses the cache mode "no-store", which also bypasses the preflight
  // cache and costs a round trip. "force-cache" prevents that; a PUT is never served from a cache.
  const put = (id, interview, headers) =>
    send("PUT", `/api/appointments/${id}`, { body: { interview }, headers, cache: "force-cache" });

  return {
    days: () => read("/api/days"),
    appointments: () => read("/api/appointments"),
    interviewers: () => read("/api/interviewers"),
    // Books a free appointment. If someone else booked first, the status is 412.
    book: (id, interview) => put(id, interview, { "If-None-Match": "*" }),
    // Edits a booked appointment. If it has been cancelled, the status is 412.
    edit: (id, interview) => put(id, interview, { "If-Match": "*" }),
    cancel: (id) => send("DELETE", `/api/appointments/${id}`),
  };
}

// A browser does not reveal to scripts why a request failed, so name the likely causes.
function explainNoResponse(base, error) {
  if (error.name === "TimeoutError") return `No response from ${base} within 30 seconds.`;
  if (location.protocol === "https:" && base.startsWith("http:")) {
    return `No response from ${base}. An https page can only call https addresses.`;
  }
  return (
    `No response from ${base}. ` +
    `Is the server running, and does its CORS_ORIGINS setting allow ${location.origin}?`
  );
}
