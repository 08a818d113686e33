/** What of a room outlives its tab: changes that the server doesn't have yet, and which rooms there were. */

const prefix = "edge.realtime.room";
const recentKey = "edge.realtime.recent";
const recentMax = 8;
/** The server knows clients for 90 days; what is older can't be merged safely. */
const ageMax = 60 * 86_400_000;

/**
 * One tab's place for a room. A client's number must not be used by two tabs: each holds a lock of that name, and a new tab takes over
 * what one left that is gone.
 */
export class RoomStore {
  static async open(user, room) {
    const base = `${prefix}/${user}/${room}/`;
    const own = sessionStorage.getItem(base);
    const others = Object.keys(localStorage).filter((key) => key.startsWith(base)).map((key) => key.slice(base.length));
    const candidates = navigator.locks ? [...(own ? [own] : []), ...others.filter((other) => other !== own)] : own ? [own] : [];
    for (const client of candidates) {
      const release = await take(base + client);
      if (release) return new RoomStore(base, client, release);
    }
    const client = crypto.randomUUID();
    return new RoomStore(base, client, await take(base + client));
  }

  constructor(base, client, release) {
    this.key = base + client;
    this.client = client;
    this.release = release ?? (() => {});
    sessionStorage.setItem(base, client);
  }

  /** @returns the state, or `{ lost }`: a text that is too old to be merged */
  read() {
    let stored;
    try {
      stored = JSON.parse(localStorage.getItem(this.key));
    } catch {
      return {};
    }
    if (!stored) return {};
    return Date.now() - stored.at > ageMax ? { lost: stored.text } : { state: stored.state };
  }

  /** @returns whether there was room for it */
  write(shared) {
    try {
      if (shared.revision === null) localStorage.removeItem(this.key);
      else localStorage.setItem(this.key, JSON.stringify({ at: Date.now(), state: shared.state, text: shared.hasUnsaved ? shared.text : undefined }));
      return true;
    } catch {
      return false;
    }
  }

  /** Leaves nothing behind if there is nothing that the server lacks. */
  close(shared) {
    if (!shared.hasUnsaved) localStorage.removeItem(this.key);
    this.release();
  }
}

/** @returns a function that lets the lock go, or null if another tab has it */
function take(name) {
  if (!navigator.locks) return Promise.resolve(() => {});
  return new Promise((resolve) => {
    navigator.locks
      .request(name, { ifAvailable: true }, (lock) => (lock ? new Promise((release) => resolve(release)) : resolve(null)))
      .catch(() => resolve(null));
  });
}

export function recentRooms(user) {
  try {
    return JSON.parse(localStorage.getItem(`${recentKey}/${user}`)) ?? [];
  } catch {
    return [];
  }
}

export function rememberRoom(user, { id, name }) {
  const rooms = [{ id, name }, ...recentRooms(user).filter((room) => room.id !== id)].slice(0, recentMax);
  try {
    localStorage.setItem(`${recentKey}/${user}`, JSON.stringify(rooms));
  } catch {
    // A list that is not kept is no loss.
  }
}
