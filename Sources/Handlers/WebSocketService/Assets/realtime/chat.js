const typingInterval = 3_000;
const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** The conversation beside the document. */
export class Chat {
  /** @param elements `list`, `scroll`, `older`, `empty`, `typing`, `form`, `field` */
  constructor({ elements, room, user, hueOf, onMessage }) {
    Object.assign(this, { ...elements, room, user, hueOf, onMessage });
    /** List items by message id. */
    this.items = new Map();
    this.oldest = null;
    this.newest = 0;
    this.typists = [];
    this.lastTyping = -Infinity;
    this.canWrite = true;
    this.mutedUntil = 0;
    this.abort = new AbortController();
    const on = (target, type, listener) => target.addEventListener(type, listener, { signal: this.abort.signal });
    on(room, "joined", ({ detail }) => this.joined(detail));
    on(room, "chat", ({ detail }) => this.take(detail));
    on(room, "history", ({ detail }) => this.prepend(detail));
    on(room, "typing", ({ detail }) => this.showTyping(detail.people));
    on(room, "muted", ({ detail }) => this.mute(detail.until));
    on(room, "refused", ({ detail }) => this.refused(detail));
    on(this.form, "submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    on(this.field, "keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.submit();
    });
    on(this.field, "input", () => this.sayTyping(this.field.value !== ""));
    on(this.older, "click", () => this.room.send({ type: "history", before: this.oldest, limit: 50 }));
  }

  close() {
    this.abort.abort();
    clearTimeout(this.muting);
    this.list.replaceChildren();
  }

  joined({ chat, mutedUntil, members }) {
    // What was missed beyond a page leaves a gap: begin anew.
    if (chat.messages.length > 0 && this.newest > 0 && chat.messages[0].number > this.newest + 1) this.clear();
    for (const message of chat.messages) this.take(message, { isOld: true });
    if (this.oldest === null || chat.messages[0]?.number === this.oldest) this.older.hidden = !chat.hasMore;
    this.mute(mutedUntil ?? 0);
    this.showTyping([]);
    this.setRole(members.find(({ id }) => id === this.room.me.id)?.role ?? this.room.me.role);
  }

  clear() {
    for (const [id, item] of this.items) {
      if (item.classList.contains("waiting")) continue;
      item.remove();
      this.items.delete(id);
    }
    this.oldest = null;
    this.newest = 0;
  }

  setRole(role) {
    this.canWrite = role !== "viewer" && role !== "none";
    this.enable();
  }

  mute(until) {
    clearTimeout(this.muting);
    this.mutedUntil = until;
    if (until > Date.now()) this.muting = setTimeout(() => this.mute(0), Math.min(until - Date.now(), 2 ** 31 - 1));
    this.enable();
  }

  enable() {
    const isMuted = this.mutedUntil > Date.now();
    this.field.disabled = !this.canWrite || isMuted;
    this.field.placeholder = isMuted ? "You are muted for a while" : this.canWrite ? "Message" : "You may read here";
    this.form.querySelector("button").disabled = this.field.disabled;
  }

  // Messages.

  take(message, { isOld = false } = {}) {
    this.newest = Math.max(this.newest, message.number);
    this.oldest = Math.min(this.oldest ?? Infinity, message.number);
    const wasAtEnd = this.isAtEnd;
    const known = this.items.get(message.id);
    const item = this.item(message);
    if (known) known.replaceWith(item);
    else this.insert(item, message.number);
    this.items.set(message.id, item);
    this.empty.hidden = true;
    if (wasAtEnd || message.user === this.user.id) this.toEnd();
    if (!isOld && message.user !== this.user.id) this.onMessage(message);
  }

  /** Behind the messages before it, before those that wait. */
  insert(item, number) {
    const next = [...this.list.children].find((other) => other.dataset.number === undefined || Number(other.dataset.number) > number);
    this.list.insertBefore(item, next ?? null);
  }

  prepend({ messages, hasMore }) {
    const height = this.scroll.scrollHeight - this.scroll.scrollTop;
    for (const message of messages) this.take(message, { isOld: true });
    this.older.hidden = !hasMore;
    this.scroll.scrollTop = this.scroll.scrollHeight - height;
  }

  item({ id, number, user, name, text, at }) {
    const item = document.createElement("li");
    item.dataset.id = id;
    if (number !== undefined) item.dataset.number = number;
    else item.classList.add("waiting");
    item.classList.toggle("mine", user === this.user.id);
    item.style.setProperty("--hue", this.hueOf(user));
    const head = document.createElement("div");
    head.className = "head";
    const author = document.createElement("b");
    author.textContent = user === this.user.id ? "You" : name;
    const when = document.createElement("time");
    const date = new Date(at);
    when.dateTime = date.toISOString();
    when.textContent = number === undefined ? "on its way" : time.format(date);
    when.title = day.format(date);
    head.append(author, when);
    const body = document.createElement("div");
    body.className = "body";
    body.textContent = text;
    item.append(head, body);
    return item;
  }

  get isAtEnd() {
    return this.scroll.scrollHeight - this.scroll.scrollTop - this.scroll.clientHeight < 40;
  }

  toEnd() {
    this.scroll.scrollTop = this.scroll.scrollHeight;
  }

  // The user's own.

  submit() {
    const text = this.field.value.trim();
    if (!text || this.field.disabled) return;
    const id = this.room.say(text);
    this.field.value = "";
    this.lastTyping = -Infinity;
    const item = this.item({ id, user: this.user.id, name: "", text, at: Date.now() });
    this.list.append(item);
    this.items.set(id, item);
    this.empty.hidden = true;
    this.toEnd();
  }

  refused({ id, request, message }) {
    const item = request === "chat" ? this.items.get(id) : null;
    if (!item) return;
    item.classList.replace("waiting", "failed");
    item.querySelector("time").textContent = `not sent: ${message}`;
  }

  sayTyping(isTyping) {
    const now = performance.now();
    if (isTyping && now - this.lastTyping < typingInterval) return;
    this.lastTyping = isTyping ? now : -Infinity;
    this.room.send({ type: "typing", active: isTyping });
  }

  showTyping(people) {
    const names = people.filter(({ user }) => user !== this.user.id).map(({ name }) => name);
    const [first, second] = names;
    this.typing.textContent =
      names.length === 0 ? ""
      : names.length === 1 ? `${first} is writing…`
      : names.length === 2 ? `${first} and ${second} are writing…`
      : `${first} and ${names.length - 1} others are writing…`;
  }
}
