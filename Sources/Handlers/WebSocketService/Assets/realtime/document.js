import { apply, compose, difference, inverse, isIdentity, moved, split, transform } from "./operation.js";

/**
 * A client's side of a shared document (docs/realtime.md). Local changes show at once; one operation at a time is on its way to the server, what
 * is typed meanwhile waits and goes as one. What others do is brought over both. Nothing is lost when a connection is: the operation on
 * its way keeps its number and is sent again, and the server applies a number once.
 *
 * It has no connection itself: `takeMessage` gives what should be sent, `receive…` takes what came.
 */
export class SharedDocument {
  /** Units that one message may insert: their JSON stays below a room's limit of 256 KiB, whatever they are. */
  static insertionMax = 32_768;
  static undoMax = 200;

  /** @param state What `state` of an earlier document gave, to go on where it ended. */
  constructor({ client, state, onChange = () => {} }) {
    this.client = client;
    this.onChange = onChange;
    /** The newest revision that is known; null before the first join. */
    this.revision = state?.revision ?? null;
    /** The text at that revision, without own changes. */
    this.confirmed = state?.confirmed ?? "";
    /** The number of the operation on its way, or of the last one that was. */
    this.sequence = state?.sequence ?? 0;
    this.inflight = state?.inflight ?? null;
    this.waiting = state?.waiting ?? null;
    this.text = this.confirmed;
    if (this.inflight) this.text = apply(this.text, this.inflight);
    if (this.waiting) this.text = apply(this.text, this.waiting);
    this.isSent = false;
    this.isJoined = false;
    this.undoStack = [];
    this.redoStack = [];
    /** Others' cursors by member, as places in `confirmed`. */
    this.cursors = new Map();
  }

  /** Everything that has to outlive the page. */
  get state() {
    const { client, revision, confirmed, sequence, inflight, waiting } = this;
    return { client, revision, confirmed, sequence, inflight, waiting };
  }

  get hasUnsaved() {
    return this.inflight !== null || this.waiting !== null;
  }

  // Local changes.

  /** Takes a change that the user made to `text`. */
  change(operation, { undo = "push" } = {}) {
    if (isIdentity(operation)) return;
    this.remember(inverse(this.text, operation), undo);
    this.text = apply(this.text, operation);
    this.waiting = this.waiting ? compose(this.waiting, operation) : operation;
  }

  remember(back, undo) {
    const stack = undo === "undo" ? this.redoStack : this.undoStack;
    if (undo === "push" || undo === "extend") this.redoStack.length = 0;
    if (undo === "extend" && stack.length > 0) stack.push(compose(back, stack.pop()));
    else stack.push(back);
    if (stack.length > SharedDocument.undoMax) stack.shift();
  }

  /** Takes back the user's own last change, not what others did since. @returns the operation, or null */
  undo() {
    return this.redoOrUndo(this.undoStack, "undo");
  }

  redo() {
    return this.redoOrUndo(this.redoStack, "redo");
  }

  redoOrUndo(stack, kind) {
    while (stack.length > 0) {
      const operation = stack.pop();
      if (isIdentity(operation)) continue;
      this.change(operation, { undo: kind });
      return operation;
    }
    return null;
  }

  // Messages.

  joinMessage() {
    this.isJoined = false;
    this.isSent = false;
    return { type: "join", client: this.client, ...(this.revision === null ? {} : { revision: this.revision }) };
  }

  /** What is to be sent now, if anything. */
  takeMessage() {
    if (!this.isJoined || this.isSent) return null;
    if (!this.inflight) {
      if (!this.waiting) return null;
      const parts = split(this.waiting, SharedDocument.insertionMax);
      [this.inflight, this.waiting] = parts ?? [this.waiting, null];
      this.sequence += 1;
    }
    this.isSent = true;
    return { type: "operation", sequence: this.sequence, revision: this.revision, operation: this.inflight };
  }

  /**
   * Takes the answer to a join.
   *
   * @returns the text that couldn't be merged, as the server has forgotten this client, or null
   */
  receiveJoined(message) {
    this.isJoined = true;
    if (message.steps) {
      for (const step of message.steps) {
        if (step.operation) this.applyRemote(step.operation);
        else this.confirm(step.acknowledges);
        this.revision = step.revision;
      }
      this.revision = message.revision;
      return null;
    }
    return this.receiveSnapshot(message);
  }

  receiveSnapshot({ text, revision, acknowledged }) {
    let lost = null;
    if (this.revision !== null) {
      if (this.inflight && acknowledged === undefined && this.sequence > 1) {
        // Whether the operation on its way arrived, nobody knows any more: merging could lose it or do it twice.
        lost = this.abandon();
      } else if (this.inflight && acknowledged >= this.sequence) {
        this.confirm(this.sequence);
      }
    }
    this.sequence = (acknowledged ?? 0) + (this.inflight ? 1 : 0);
    this.applyRemote(difference(this.confirmed, text));
    this.revision = revision;
    return lost;
  }

  /** Takes all own changes back that the server doesn't have. @returns the text with them */
  abandon() {
    const before = this.text;
    if (this.inflight) this.sequence -= 1;
    this.inflight = null;
    this.waiting = null;
    this.isSent = false;
    this.undoStack.length = 0;
    this.redoStack.length = 0;
    this.text = this.confirmed;
    this.onChange(difference(before, this.text), null);
    return before;
  }

  /** @returns whether the operation fits; else something was missed, and the client has to join anew */
  receiveOperation(message) {
    // What is older is in the answer to the join.
    if (!this.isJoined || message.revision <= this.revision) return true;
    if (message.revision !== this.revision + 1) return false;
    // Its own, sent over a connection that it has given up since.
    const isOwn = message.client === this.client && this.inflight && message.sequence === this.sequence;
    if (isOwn) this.confirm(message.sequence);
    else this.applyRemote(message.operation, message.member);
    this.revision = message.revision;
    return true;
  }

  receiveAcknowledgement({ sequence, revision }) {
    if (!this.inflight || sequence !== this.sequence) return;
    this.confirm(sequence);
    if (revision !== undefined) this.revision = Math.max(this.revision, revision);
  }

  /** The operation on its way came too fast and is to be sent again. */
  receiveRefusal({ sequence }) {
    if (sequence === this.sequence) this.isSent = false;
  }

  confirm(sequence) {
    if (!this.inflight || sequence !== this.sequence) return;
    this.confirmed = apply(this.confirmed, this.inflight);
    this.moveCursors(this.inflight, null);
    this.inflight = null;
    this.isSent = false;
  }

  applyRemote(operation, member = null) {
    this.confirmed = apply(this.confirmed, operation);
    this.moveCursors(operation, member);
    let shown = operation;
    if (this.inflight) [shown, this.inflight] = transform(shown, this.inflight);
    if (this.waiting) [shown, this.waiting] = transform(shown, this.waiting);
    if (isIdentity(shown)) return;
    this.text = apply(this.text, shown);
    for (const stack of [this.undoStack, this.redoStack]) {
      let through = shown;
      for (let index = stack.length - 1; index >= 0; index -= 1) [through, stack[index]] = transform(through, stack[index]);
    }
    this.onChange(shown, member);
  }

  // Cursors: the server speaks of places in its newest text, which own changes aren't in.

  /** @param cursor `{ anchor, head }`, or null for none */
  setCursor(member, cursor) {
    if (cursor) this.cursors.set(member, cursor);
    else this.cursors.delete(member);
  }

  moveCursors(operation, author) {
    for (const [member, { anchor, head }] of this.cursors) {
      const isAuthors = member === author;
      this.cursors.set(member, { anchor: moved(anchor, operation, isAuthors), head: moved(head, operation, isAuthors) });
    }
  }

  /** Where a place of the server's newest text is in what the user sees. */
  shownPlace(position) {
    let place = position;
    if (this.inflight) place = moved(place, this.inflight);
    if (this.waiting) place = moved(place, this.waiting);
    return Math.min(place, this.text.length);
  }

  /** The revision that the user's own places belong to, or null while there are changes on their way. */
  get placesRevision() {
    return this.isJoined && !this.hasUnsaved ? this.revision : null;
  }
}
