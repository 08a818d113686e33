import { SharedDocument } from "./document.js";

const heartbeat = '{"type":"ping"}';
const heartbeatInterval = 20_000;
const answerTime = 10_000;
const retryTimeMax = 15_000;
/** What ends a connection for good: another one of this client took over, or there is no access. */
const finalCodes = new Map([[4401, "signed-out"], [4403, "removed"], [4409, "replaced"]]);
/** Refusals after which only a new join helps. */
const rejoining = new Set(["unknown_revision", "out_of_sequence"]);
/** Refusals after which the change can't be made at all. */
const lasting = new Set(["invalid_operation", "document_too_long", "forbidden"]);

/**
 * A room as one tab sees it: keeps a connection, comes back after each loss, and brings the document up to date. Emits events:
 * `state` (connection or saving changed), `joined`, `change` (others changed the text), `cursors`, `presence`, `typing`, `chat`, `history`,
 * `room`, `role`, `muted`, `topic`, `refused`, `lost` (text that couldn't be merged).
 */
export class RoomConnection extends EventTarget {
  /** @param token A function that gives a valid access token; what it throws with status 401 or 403 ends the connection. */
  constructor({ url, token, explain, client, saved }) {
    super();
    this.url = url;
    this.token = token;
    this.explain = explain;
    /** `connecting`, `online`, `offline`, or why it has ended: `signed-out`, `denied`, `missing`, `removed`, `replaced`. */
    this.state = "connecting";
    this.retries = 0;
    this.held = null;
    this.outbox = new Map();
    this.document = new SharedDocument({
      client,
      state: saved,
      onChange: (operation, member) => this.emit("change", { operation, member }),
    });
    this.reconnect = this.reconnect.bind(this);
    this.networkLost = () => this.socket && this.drop();
    addEventListener("online", this.reconnect);
    addEventListener("offline", this.networkLost);
    this.connect();
  }

  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  become(state) {
    this.state = state;
    this.emit("state");
  }

  // The connection.

  async connect() {
    this.become("connecting");
    let token;
    try {
      token = await this.token();
    } catch (failure) {
      return failure.status === 401 ? this.end("signed-out") : this.retry();
    }
    if (this.isOver) return;
    // Headers can't be set here; the token travels as an offered protocol.
    const socket = new WebSocket(this.url, ["edge.realtime.v1", `bearer.${token}`]);
    this.socket = socket;
    this.watch(answerTime);
    socket.onopen = () => {
      this.opened = true;
      this.transmit(this.document.joinMessage());
    };
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return;
      this.watch(heartbeatInterval);
      this.take(JSON.parse(data));
    };
    socket.onclose = ({ code }) => {
      if (socket === this.socket) this.closed(code);
    };
  }

  transmit(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  /** Asks for a sign of life when nothing came for a while, and gives the connection up when none comes. */
  watch(time) {
    clearTimeout(this.watching);
    this.watching = setTimeout(() => {
      if (!this.opened || this.state !== "online") return this.drop();
      this.transmit(heartbeat);
      this.watching = setTimeout(() => this.drop(), answerTime);
    }, time);
  }

  /** Gives a connection up without waiting for its end. */
  drop() {
    const socket = this.socket;
    this.closed(1006);
    socket?.close();
  }

  async closed(code) {
    clearTimeout(this.watching);
    const wasOpened = this.opened;
    this.socket = null;
    this.opened = false;
    this.document.isJoined = false;
    this.held = null;
    if (this.isOver) return;
    if (finalCodes.has(code)) return this.end(finalCodes.get(code));
    this.become("offline");
    // The browser doesn't tell why a connection was refused; a plain request does.
    if (!wasOpened) {
      const reason = await this.explain();
      if (this.isOver) return;
      if (reason) return this.end(reason);
    }
    this.retry();
  }

  retry() {
    if (this.state !== "offline") this.become("offline");
    const time = Math.min(retryTimeMax, 500 * 2 ** this.retries) * (0.5 + Math.random() / 2);
    this.retries += 1;
    clearTimeout(this.retrying);
    this.retrying = setTimeout(() => this.connect(), time);
  }

  /** Tries at once. */
  reconnect() {
    if (this.isOver || this.state !== "offline") return;
    clearTimeout(this.retrying);
    this.retries = 0;
    this.connect();
  }

  end(reason) {
    this.isOver = true;
    this.become(reason);
    this.close();
  }

  close() {
    this.isOver = true;
    clearTimeout(this.watching);
    clearTimeout(this.retrying);
    removeEventListener("online", this.reconnect);
    removeEventListener("offline", this.networkLost);
    this.socket?.close(1000);
    this.socket = null;
  }

  // Messages.

  /** Keeps what comes until `resume`: an input method is at work in the text. */
  pause() {
    this.held ??= [];
  }

  resume() {
    const messages = this.held ?? [];
    this.held = null;
    for (const message of messages) this.take(message);
  }

  take(message) {
    if (this.held && this.document.isJoined) return void this.held.push(message);
    const { document } = this;
    if (!document.isJoined && message.type !== "joined" && message.type !== "error") return;
    switch (message.type) {
      case "joined": return this.joined(message);
      case "operation":
        if (!document.receiveOperation(message)) return this.drop();
        this.emit("cursors", [message.member]);
        return this.changed();
      case "ack":
        document.receiveAcknowledgement(message);
        return this.changed();
      case "cursors":
        for (const { member, anchor, head } of message.cursors) document.setCursor(member, anchor === undefined ? null : { anchor, head });
        return this.emit("cursors", message.cursors.map(({ member }) => member));
      case "presence":
        for (const member of message.left ?? []) document.setCursor(member, null);
        return this.emit("presence", message);
      case "chat":
        this.outbox.delete(message.message.id);
        return this.emit("chat", message.message);
      case "error": return this.refused(message);
      case "pong": return;
      default: this.emit(message.type, message);
    }
  }

  joined(message) {
    this.retries = 0;
    this.me = message.you;
    this.document.cursors.clear();
    const lost = this.document.receiveJoined(message);
    for (const member of message.members) {
      if (member.cursor && member.id !== message.you.id) this.document.setCursor(member.id, member.cursor);
    }
    this.become("online");
    this.emit("joined", message);
    if (lost !== null) this.emit("lost", lost);
    for (const text of this.outbox.values()) this.transmit(text);
    this.changed();
  }

  refused(message) {
    if (message.request === "operation") {
      if (message.code === "rate_limited") {
        setTimeout(() => {
          this.document.receiveRefusal(message);
          this.flush();
        }, message.retryAfter ?? 1000);
        return;
      }
      if (rejoining.has(message.code)) return this.drop();
      if (lasting.has(message.code)) {
        this.emit("lost", this.document.abandon());
        this.emit("state");
      }
    }
    if (message.request === "chat" && message.code === "rate_limited" && this.outbox.has(message.id)) {
      setTimeout(() => this.transmit(this.outbox.get(message.id) ?? heartbeat), message.retryAfter ?? 1000);
      return;
    }
    if (message.id) this.outbox.delete(message.id);
    this.emit("refused", message);
  }

  /** Sends what the document has to say. */
  flush() {
    const message = this.document.takeMessage();
    if (message) this.transmit(message);
  }

  changed() {
    this.flush();
    this.emit("state");
  }

  // What the user does.

  edit(operation, options) {
    this.document.change(operation, options);
    this.changed();
  }

  undo() {
    return this.stepped(this.document.undo());
  }

  redo() {
    return this.stepped(this.document.redo());
  }

  stepped(operation) {
    if (operation) this.changed();
    return operation;
  }

  /** Says something; it is sent again after a loss, until the server has it. */
  say(text) {
    const id = crypto.randomUUID();
    const message = JSON.stringify({ type: "chat", id, text });
    this.outbox.set(id, message);
    this.transmit(message);
    return id;
  }

  send(message) {
    if (this.document.isJoined) this.transmit(message);
  }
}
