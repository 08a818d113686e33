import { moved, typed } from "./operation.js";

const cursorInterval = 80;
/** How long a cursor that rests says whose it is: the name hides what is above. */
const nameTime = 4_000;
/** Changes that follow each other this closely are taken back together. */
const groupTime = 700;

/** A text field that shows a shared document, and others' cursors in it. */
export class Editor {
  constructor({ field, overlay, room, describe }) {
    this.field = field;
    this.overlay = overlay;
    this.room = room;
    this.describe = describe;
    this.lastChange = 0;
    /** When each member's cursor moved. */
    this.moves = new Map();
    this.abort = new AbortController();
    const on = (target, type, listener) => target.addEventListener(type, listener, { signal: this.abort.signal });
    on(field, "input", () => this.input());
    on(field, "beforeinput", (event) => this.beforeInput(event));
    on(field, "keydown", (event) => this.keyDown(event));
    on(field, "compositionstart", () => room.pause());
    on(field, "compositionend", () => {
      this.input();
      room.resume();
    });
    on(document, "selectionchange", () => document.activeElement === field && this.selectionChanged());
    on(field, "blur", () => this.selectionChanged());
    on(room, "change", ({ detail }) => this.remoteChange(detail.operation));
    on(room, "cursors", ({ detail }) => this.cursorsMoved(detail));
    on(room, "presence", () => this.draw());
    on(room, "joined", () => {
      this.show();
      this.selectionChanged();
    });
    on(room, "state", () => this.sendCursor());
    this.show();
  }

  close() {
    this.abort.abort();
    clearTimeout(this.cursorTimer);
    clearTimeout(this.nameTimer);
  }

  get document() {
    return this.room.document;
  }

  /** As the field shows the text: it has no carriage returns. */
  get shownText() {
    return this.document.text.replaceAll("\r", "\u240d");
  }

  show() {
    const { selectionStart, selectionEnd, selectionDirection } = this.field;
    if (this.field.value !== this.shownText) {
      this.field.value = this.shownText;
      this.field.setSelectionRange(selectionStart, selectionEnd, selectionDirection);
    }
    this.draw();
  }

  // The user's changes.

  input() {
    const operation = typed(this.shownText, this.field.value, this.field.selectionEnd);
    const now = performance.now();
    const undo = now - this.lastChange < groupTime ? "extend" : "push";
    this.lastChange = now;
    this.room.edit(operation, { undo });
    this.draw();
  }

  beforeInput(event) {
    // The field's own history knows nothing of what others did.
    if (event.inputType === "historyUndo" || event.inputType === "historyRedo") {
      event.preventDefault();
      this.step(event.inputType === "historyUndo");
    }
  }

  keyDown(event) {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || event.isComposing) return;
    const key = event.key.toLowerCase();
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    this.step(key === "z" && !event.shiftKey);
  }

  step(isUndo) {
    if (this.field.readOnly) return;
    const operation = isUndo ? this.room.undo() : this.room.redo();
    if (!operation) return;
    this.lastChange = 0;
    this.field.value = this.shownText;
    const place = moved(endOfChange(operation), operation, true);
    this.field.setSelectionRange(place, place);
    this.draw();
  }

  // Others' changes.

  remoteChange(operation) {
    const { field } = this;
    const start = moved(field.selectionStart, operation);
    const end = moved(field.selectionEnd, operation);
    const direction = field.selectionDirection;
    const scroll = this.overlay.parentElement.parentElement.scrollTop;
    field.value = this.shownText;
    field.setSelectionRange(start, end, direction);
    this.overlay.parentElement.parentElement.scrollTop = scroll;
    // What is typed next is a step of its own.
    this.lastChange = 0;
    this.draw();
  }

  // Cursors.

  selectionChanged() {
    this.hasMoved = true;
    this.sendCursor();
  }

  cursorsMoved(members) {
    for (const member of members) this.moves.set(member, performance.now());
    clearTimeout(this.nameTimer);
    this.nameTimer = setTimeout(() => this.draw(), nameTime);
    this.draw();
  }

  sendCursor() {
    if (!this.hasMoved || this.cursorTimer) return;
    this.cursorTimer = setTimeout(() => {
      this.cursorTimer = undefined;
      const revision = this.document.placesRevision;
      // While changes are on their way, the server moves the cursor with them.
      if (revision === null) return;
      this.hasMoved = false;
      const { selectionStart, selectionEnd, selectionDirection } = this.field;
      const isBackward = selectionDirection === "backward";
      const place = document.activeElement === this.field
        ? { anchor: isBackward ? selectionEnd : selectionStart, head: isBackward ? selectionStart : selectionEnd }
        : {};
      this.room.send({ type: "cursor", revision, ...place });
    }, cursorInterval);
  }

  /** Draws the text once more, unseen, with the others' cursors and selections in it. */
  draw() {
    const text = this.shownText;
    const cursors = [];
    for (const [member, { anchor, head }] of this.document.cursors) {
      const person = this.describe(member);
      if (!person) continue;
      const [from, to] = [this.document.shownPlace(anchor), this.document.shownPlace(head)];
      const isResting = performance.now() - (this.moves.get(member) ?? -Infinity) >= nameTime;
      cursors.push({ person, isResting, from: Math.min(from, to), to: Math.max(from, to), head: to });
    }
    const places = [...new Set([0, text.length, ...cursors.flatMap(({ from, to }) => [from, to])])].sort((a, b) => a - b);
    const nodes = [];
    for (const [index, place] of places.entries()) {
      for (const { person, head, isResting } of cursors) if (head === place) nodes.push(caret(person, isResting));
      const next = places[index + 1];
      if (next === undefined) continue;
      const selection = cursors.find(({ from, to }) => from <= place && to >= next);
      nodes.push(selection ? marked(text.slice(place, next), selection.person) : text.slice(place, next));
    }
    // A last empty line needs something in it to have a height.
    nodes.push("\u200b");
    this.overlay.replaceChildren(...nodes);
  }
}

function endOfChange(operation) {
  let place = 0;
  let end = 0;
  for (const component of operation) {
    if (typeof component === "string") {
      end = place;
    } else {
      place += Math.abs(component);
      if (component < 0) end = place;
    }
  }
  return end;
}

function caret({ name, hue }, isResting) {
  const element = document.createElement("span");
  element.className = isResting ? "caret resting" : "caret";
  element.style.setProperty("--hue", hue);
  element.dataset.name = name;
  return element;
}

function marked(text, { hue }) {
  const element = document.createElement("mark");
  element.style.setProperty("--hue", hue);
  element.textContent = text;
  return element;
}
