import { APIFailure, Session } from "./api.js";
import { Chat } from "./chat.js";
import { RoomConnection } from "./connection.js";
import { Editor } from "./editor.js";
import { People } from "./people.js";
import { recentRooms, rememberRoom, RoomStore } from "./storage.js";

const $ = (id) => document.getElementById(id);
const roomPattern = /^[0-9a-f-]{36}$/;
const facesMax = 6;
const saveDelay = 250;
const awayDelay = 5_000;

let session = Session.restored();
let isRegistering = false;
let view = null;

/** The same colour for one person everywhere. */
function hueOf(user) {
  let hash = 0;
  for (const character of user) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return (hash * 137) % 360;
}

function show(id) {
  for (const part of ["sign-in", "lobby", "ended", "room"]) $(part).hidden = part !== id;
  for (const part of ["place", "faces-button", "share"]) $(part).hidden = id !== "room";
  $("sign-out").hidden = !session;
}

function toast(text) {
  const item = document.createElement("p");
  item.textContent = text;
  $("toasts").append(item);
  setTimeout(() => item.remove(), 4_000);
}

function showLost(text) {
  if (!text) return;
  $("lost-text").value = text;
  if (!$("lost").open) $("lost").showModal();
}

// Signing in.

function signIn() {
  show("sign-in");
  document.title = "Sign in · Rooms";
  $("email").focus();
}

function setMode(registering) {
  isRegistering = registering;
  $("sign-in-title").textContent = registering ? "Make an account" : "Sign in";
  $("sign-in-button").textContent = registering ? "Make it" : "Sign in";
  $("switch-mode").textContent = registering ? "I have an account" : "New here? Make an account";
  $("username-row").hidden = !registering;
  $("password").autocomplete = registering ? "new-password" : "current-password";
  $("sign-in-failure").hidden = true;
}

function fail(id, failure) {
  const details = failure instanceof APIFailure && failure.fields
    ? Object.entries(failure.fields).map(([field, text]) => `${field} ${text}`).join("; ")
    : failure.message;
  $(id).textContent = details;
  $(id).hidden = false;
}

/** Runs the work of a form, whose button is off meanwhile. */
async function working(form, failure, work) {
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  $(failure).hidden = true;
  try {
    await work(new FormData(form));
  } catch (error) {
    fail(failure, error);
  } finally {
    button.disabled = false;
  }
}

$("switch-mode").addEventListener("click", () => setMode(!isRegistering));
$("sign-in-form").addEventListener("submit", (event) => {
  event.preventDefault();
  working(event.target, "sign-in-failure", async (data) => {
    session = isRegistering
      ? await Session.register(data.get("email"), data.get("username"), data.get("password"))
      : await Session.signIn(data.get("email"), data.get("password"));
    event.target.reset();
    route();
  });
});
$("sign-out").addEventListener("click", async () => {
  const ended = session;
  session = null;
  view?.close();
  view = null;
  await ended?.signOut();
  route();
});

// The lobby.

function lobby() {
  show("lobby");
  document.title = "Rooms";
  const rooms = recentRooms(session.user.id);
  $("recent").replaceChildren(...rooms.map(({ id, name }) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = `?room=${id}`;
    link.textContent = name;
    item.append(link);
    return item;
  }));
  $("lobby-title").textContent = rooms.length > 0 ? "Your rooms" : "Welcome";
}

$("create-form").addEventListener("submit", (event) => {
  event.preventDefault();
  working(event.target, "create-failure", async (data) => {
    const { room } = await session.request("POST", "/api/v1/realtime/rooms", { name: data.get("name"), access: data.get("access") });
    event.target.reset();
    history.pushState(null, "", `?room=${room.id}`);
    route();
  });
});

// The room.

const roles = { viewer: "You may read", commenter: "You may read and chat", editor: "You may edit", owner: "You own this room" };
const states = { connecting: "Connecting…", online: "Connected", offline: "Offline" };
const endings = {
  "signed-out": ["You were signed out", "Sign in to go on. What you wrote here is kept.", "Sign in"],
  denied: ["No access", "Ask who made this room to let you in.", "Your rooms"],
  missing: ["No such room", "The link may be wrong, or the room is gone.", "Your rooms"],
  removed: ["You were removed", "An owner has ended your access to this room.", "Your rooms"],
  replaced: ["Opened elsewhere", "This room went on in another tab.", "Use it here"],
};

class RoomView {
  static async open(id) {
    const store = await RoomStore.open(session.user.id, id);
    return new RoomView(id, store);
  }

  constructor(id, store) {
    this.id = id;
    this.store = store;
    this.members = new Map();
    this.count = 0;
    this.unread = 0;
    this.abort = new AbortController();
    const { state, lost } = store.read();
    showLost(lost);
    const url = new URL(`/api/v1/realtime/rooms/${id}/socket`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    this.room = new RoomConnection({
      url: url.href, client: store.client, saved: state, token: () => session.token(), explain: () => this.explain(),
    });
    this.editor = new Editor({
      field: $("text"), overlay: $("overlay"), room: this.room, describe: (member) => this.describe(member),
    });
    this.chat = new Chat({
      elements: {
        list: $("messages"), scroll: $("messages-scroll"), older: $("older"), empty: $("no-messages"), typing: $("typing"),
        form: $("composer"), field: $("message"),
      },
      room: this.room, user: session.user, hueOf, onMessage: (message) => this.heard(message),
    });
    this.people = new People({
      elements: { dialog: $("people"), list: $("people-list"), access: $("access"), accessForm: $("access-form") },
      room: this.room, user: session.user, hueOf,
    });
    this.listen();
    $("no-messages").hidden = false;
    $("older").hidden = true;
    $("room-name").textContent = "Room";
    this.selectTab("document");
    this.showState();
    this.setRole("viewer");
    show("room");
  }

  listen() {
    const on = (target, type, listener) => target.addEventListener(type, listener, { signal: this.abort.signal });
    on(this.room, "joined", ({ detail }) => this.joined(detail));
    on(this.room, "presence", ({ detail }) => this.presence(detail));
    on(this.room, "room", ({ detail }) => this.named(detail.room));
    on(this.room, "role", ({ detail }) => this.setRole(detail.role));
    on(this.room, "lost", ({ detail }) => showLost(detail));
    on(this.room, "refused", ({ detail }) => detail.request !== "chat" && toast(detail.message));
    on(this.room, "state", () => this.showState());
    on(document, "visibilitychange", () => this.visibilityChanged());
    on(window, "pagehide", () => this.save());
    on(window, "beforeunload", (event) => {
      if (!this.save()) event.preventDefault();
    });
    for (const tab of ["document", "chat"]) {
      on($(`tab-${tab}`), "click", () => this.selectTab(tab));
      on($(`tab-${tab}`), "keydown", ({ key }) => {
        if (key !== "ArrowLeft" && key !== "ArrowRight") return;
        this.selectTab(tab === "chat" ? "document" : "chat");
        $(`tab-${this.tab}`).focus();
      });
    }
    on($("faces-button"), "click", () => this.people.open());
    on($("share"), "click", async () => {
      await navigator.clipboard.writeText(location.href).then(() => toast("Link copied"), () => toast(location.href));
    });
  }

  close() {
    this.abort.abort();
    clearTimeout(this.saving);
    clearTimeout(this.leaving);
    this.save();
    this.room.close();
    this.editor.close();
    this.chat.close();
    this.people.close();
    this.store.close(this.room.document);
  }

  /** Why a connection was refused; null when it is worth trying again. */
  async explain() {
    try {
      await session.request("GET", `/api/v1/realtime/rooms/${this.id}`);
      return null;
    } catch (failure) {
      return { 401: "signed-out", 403: "denied", 404: "missing" }[failure.status] ?? null;
    }
  }

  // People.

  joined({ you, room, members, memberCount }) {
    this.me = you;
    this.members = new Map([...members, you].map((member) => [member.id, member]));
    this.count = memberCount;
    this.named(room);
    this.setRole(you.role);
    this.showFaces();
    this.editor.draw();
    if (document.visibilityState === "hidden") this.room.send({ type: "presence", state: "away" });
  }

  named(room) {
    this.access = room.access;
    this.showPeople();
    $("room-name").textContent = room.name;
    document.title = `${room.name} · Rooms`;
    rememberRoom(session.user.id, room);
  }

  presence({ present = [], left = [], count }) {
    for (const member of present) this.members.set(member.id, member);
    for (const id of left) this.members.delete(id);
    this.count = count;
    this.showFaces();
  }

  showPeople() {
    this.people.update(this.members, this.role, this.access);
  }

  describe(member) {
    const found = this.members.get(member);
    return found && member !== this.me?.id ? { name: found.name, hue: hueOf(found.user) } : null;
  }

  showFaces() {
    this.showPeople();
    // A person with several tabs is one person, active if one of them is.
    const people = new Map();
    for (const { user, name, state } of this.members.values()) {
      if (!people.has(user) || state === "active") people.set(user, { user, name, state });
    }
    const shown = [...people.values()].sort((a, b) => (a.user === session.user.id) - (b.user === session.user.id)).slice(-facesMax);
    const items = shown.map(({ user, name, state }) => {
      const item = document.createElement("span");
      item.style.setProperty("--hue", hueOf(user));
      item.dataset.state = state;
      item.textContent = Array.from(name).slice(0, 2).join("").toUpperCase();
      item.title = (user === session.user.id ? `${name} (you)` : name) + (state === "away" ? ", away" : "");
      return item;
    });
    const more = this.count > this.members.size ? this.count - shown.length : people.size - shown.length;
    if (more > 0) {
      const item = document.createElement("span");
      item.className = "more";
      item.textContent = `+${more}`;
      items.unshift(item);
    }
    $("faces").replaceChildren(...items);
    $("faces-button").setAttribute("aria-label", `People in this room: ${items.map(({ title, textContent }) => title || textContent).join("; ")}`);
  }

  setRole(role) {
    this.role = role;
    this.showPeople();
    const canEdit = role === "editor" || role === "owner";
    // Until the room has said so, what was typed offline may go on.
    $("text").readOnly = !canEdit && this.room.document.revision !== null && this.me !== undefined;
    $("text-note").textContent = this.me === undefined ? "" : roles[role] ?? "";
    this.chat.setRole(role);
  }

  visibilityChanged() {
    clearTimeout(this.leaving);
    if (document.visibilityState === "visible") {
      this.room.reconnect();
      this.room.send({ type: "presence", state: "active" });
      if (this.tab === "chat") this.clearUnread();
    } else {
      this.leaving = setTimeout(() => this.room.send({ type: "presence", state: "away" }), awayDelay);
    }
  }

  // The state.

  showState() {
    const { state, document: shared } = this.room;
    const ending = endings[state];
    if (ending) return this.ended(state, ending);
    $("status").dataset.state = state;
    $("status-text").textContent = states[state];
    const isSlow = state !== "online" && shared.hasUnsaved;
    $("saved").dataset.kind = isSlow ? "waiting" : "";
    $("saved").textContent = isSlow ? "Kept here until you are back online" : shared.hasUnsaved ? "Saving…" : shared.revision === null ? "" : "All changes saved";
    clearTimeout(this.saving);
    this.saving = setTimeout(() => this.save(), saveDelay);
  }

  save() {
    const isKept = this.store.write(this.room.document);
    if (!isKept && this.room.document.hasUnsaved && !this.hasWarned) {
      this.hasWarned = true;
      toast("This browser has no room for your changes: stay here until they are saved.");
    }
    return isKept || !this.room.document.hasUnsaved;
  }

  ended(state, [title, text, button]) {
    this.save();
    $("ended-title").textContent = title;
    $("ended-text").textContent = text;
    $("ended-button").textContent = button;
    $("ended-button").onclick = () => {
      if (state === "signed-out") {
        session.signOut();
        session = null;
      }
      else if (state !== "replaced") history.pushState(null, "", location.pathname);
      route();
    };
    show("ended");
    $("ended-button").focus();
  }

  // The small screen.

  selectTab(tab) {
    this.tab = tab;
    $("room").dataset.tab = tab;
    for (const other of ["document", "chat"]) {
      $(`tab-${other}`).setAttribute("aria-selected", String(other === tab));
      $(`tab-${other}`).tabIndex = other === tab ? 0 : -1;
    }
    if (tab === "chat") this.clearUnread();
  }

  heard() {
    const isShown = $("messages").offsetParent !== null && document.visibilityState === "visible";
    if (isShown) return;
    this.unread += 1;
    $("unread").textContent = this.unread;
    $("unread").hidden = false;
  }

  clearUnread() {
    this.unread = 0;
    $("unread").hidden = true;
    this.chat?.toEnd();
  }
}

async function route() {
  view?.close();
  view = null;
  session ??= Session.restored();
  if (!session) return signIn();
  const id = new URLSearchParams(location.search).get("room");
  if (!id) return lobby();
  if (!roomPattern.test(id)) return history.replaceState(null, "", location.pathname), lobby();
  view = await RoomView.open(id);
}

addEventListener("popstate", route);
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='?'], a.brand");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  history.pushState(null, "", link.href);
  route();
});
route();
