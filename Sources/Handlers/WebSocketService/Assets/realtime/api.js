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

export class Session {
  /** The session of this tab, or null. */
  static restored() {
    try {
      const stored = JSON.parse(sessionStorage.getItem(storageKey));
      return stored ? new Session(stored) : null;
    } catch {
      return null;
    }
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
    sessionStorage.setItem(storageKey, JSON.stringify({ user, access, refresh }));
  }

  async signOut() {
    sessionStorage.removeItem(storageKey);
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

  /** A used refresh token ends the session, so only one renewal is under way. */
  renewed() {
    this.renewal ??= request("POST", "/api/v1/auth/refresh", { refreshToken: this.refresh })
      .then((answer) => {
        this.access = answer.accessToken;
        this.refresh = answer.refreshToken;
        this.keep();
        return this.access;
      })
      .finally(() => (this.renewal = undefined));
    return this.renewal;
  }
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
