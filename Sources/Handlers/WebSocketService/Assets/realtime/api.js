/** The platform's API for a signed-in person: tokens, and requests that carry them. */

const storageKey = "edge.realtime.session";

export class APIFailure extends Error {
  constructor(status, { code = "unknown", message = "Something went wrong.", fields } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.fields = fields;
  }
}

/** A login, which all tabs of the browser share. */
export class Session {
  /** The login that there is, or null. */
  static restored() {
    const stored = read();
    return stored ? new Session(stored) : null;
  }

  static async signIn(email, password) {
    const answer = await request("POST", "/api/v1/auth/login", { email, password });
    return new Session({ user: answer.user, access: answer.accessToken, refresh: answer.refreshToken });
  }

  static async register(email, username, password) {
    await request("POST", "/api/v1/auth/register", { email, username, password });
    return Session.signIn(email, password);
  }

  constructor({ user, access, refresh }) {
    this.user = user;
    this.access = access;
    this.refresh = refresh;
    this.keep();
  }

  keep() {
    const { user, access, refresh } = this;
    localStorage.setItem(storageKey, JSON.stringify({ user, access, refresh }));
  }

  async signOut() {
    localStorage.removeItem(storageKey);
    await request("POST", "/api/v1/auth/logout", { refreshToken: this.refresh }, this.access).catch(() => {});
  }

  /** A request with this session's token, which is renewed once if it has ended. */
  async request(method, path, body) {
    try {
      return await request(method, path, body, await this.token());
    } catch (failure) {
      if (failure.status !== 401 || failure.code === "session_ended") throw failure;
      return request(method, path, body, await this.renewed());
    }
  }

  /** A token that is good for another minute. */
  async token() {
    return expiry(this.access) > Date.now() + 60_000 ? this.access : this.renewed();
  }

  /** A refresh token that is used twice ends the login, so one renewal is under way at a time, in one of the tabs. */
  renewed() {
    this.renewal ??= alone("edge.realtime.renewal", () => this.renew()).finally(() => (this.renewal = undefined));
    return this.renewal;
  }

  async renew() {
    const stored = read();
    if (stored && stored.user.id === this.user.id && stored.access !== this.access) {
      // Another tab was first.
      this.access = stored.access;
      this.refresh = stored.refresh;
      if (expiry(this.access) > Date.now() + 60_000) return this.access;
    }
    const answer = await request("POST", "/api/v1/auth/refresh", { refreshToken: this.refresh });
    this.access = answer.accessToken;
    this.refresh = answer.refreshToken;
    if (read()) this.keep();
    return this.access;
  }
}

function read() {
  try {
    return JSON.parse(localStorage.getItem(storageKey));
  } catch {
    return null;
  }
}

/** Runs work while no other tab does; without the API for that, just runs it. */
function alone(name, work) {
  return navigator.locks ? navigator.locks.request(name, work) : work();
}

function expiry(token) {
  try {
    const claims = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return claims.exp * 1000;
  } catch {
    return 0;
  }
}

/** @throws {APIFailure} status 0 when there is no network */
async function request(method, path, body, token) {
  const headers = { accept: "application/json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (token) headers.authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new APIFailure(0, { code: "offline", message: "The server can't be reached." });
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new APIFailure(response.status, answer?.error);
  return answer;
}
