// Operations on a text, as Sources/Handlers/Collaboration/Text has them: arrays of components. A positive number keeps so many
// UTF-16 code units, a string is inserted, a negative number deletes. An operation covers the whole text that it is made for.
//
// TP1: with [a2, b2] = transform(a, b), the text after a and then b2 is that after b and then a2.

// Kinds are told by type first: to JavaScript, the text "5" is more than 0.
const isRetain = (component) => typeof component === "number" && component > 0;
const isInsert = (component) => typeof component === "string";
const isRemove = (component) => typeof component === "number" && component < 0;

/** The operation that changes nothing. */
export function identity(length) {
  return length > 0 ? [length] : [];
}

function retain(operation, count) {
  if (count <= 0) return;
  const last = operation.length - 1;
  if (isRetain(operation[last])) operation[last] += count;
  else operation.push(count);
}

function insert(operation, text) {
  if (text === "") return;
  let place = operation.length;
  // Before a deletion at the same place: equal changes have equal components.
  if (isRemove(operation[place - 1])) place -= 1;
  if (isInsert(operation[place - 1])) operation[place - 1] += text;
  else operation.splice(place, 0, text);
}

function remove(operation, count) {
  if (count <= 0) return;
  const last = operation.length - 1;
  if (isRemove(operation[last])) operation[last] -= count;
  else operation.push(-count);
}

/** The operation that replaces `count` units at `position` by `text`. */
export function replacing(length, position, count, text) {
  const operation = [];
  retain(operation, position);
  insert(operation, text);
  remove(operation, count);
  retain(operation, length - position - count);
  return operation;
}

export function isIdentity(operation) {
  return operation.every(isRetain);
}

export function baseLength(operation) {
  return operation.reduce((sum, component) => sum + (isInsert(component) ? 0 : Math.abs(component)), 0);
}

export function targetLength(operation) {
  return operation.reduce(
    (sum, component) => sum + (isInsert(component) ? component.length : Math.max(component, 0)), 0);
}

/** The text after the operation. */
export function apply(text, operation) {
  const parts = [];
  let position = 0;
  for (const component of operation) {
    if (isInsert(component)) {
      parts.push(component);
    } else if (component > 0) {
      parts.push(text.slice(position, position + component));
      position += component;
    } else {
      position -= component;
    }
  }
  if (position !== text.length) throw new RangeError(`the operation is made for ${position} units; the text has ${text.length}`);
  return parts.join("");
}

/** The operation that leads back, from the text after `operation` to `text`. */
export function inverse(text, operation) {
  const result = [];
  let position = 0;
  for (const component of operation) {
    if (isInsert(component)) {
      remove(result, component.length);
    } else if (component > 0) {
      retain(result, component);
      position += component;
    } else {
      insert(result, text.slice(position, position - component));
      position -= component;
    }
  }
  return result;
}

/** Reads an operation's components from the left, in pieces. */
class Reader {
  constructor(operation) {
    this.operation = operation;
    this.index = 0;
    this.current = operation[0];
  }

  advance() {
    this.index += 1;
    this.current = this.operation[this.index];
  }

  /** How many units the current component speaks of. */
  get count() {
    return isInsert(this.current) ? this.current.length : Math.abs(this.current);
  }

  take(count) {
    if (count >= this.count) this.advance();
    else if (isInsert(this.current)) this.current = this.current.slice(count);
    else this.current -= Math.sign(this.current) * count;
  }
}

function mismatch() {
  return new RangeError("the operations are not made for one text");
}

/** One operation that does what `first`, and then `second`, do. */
export function compose(first, second) {
  const left = new Reader(first);
  const right = new Reader(second);
  const result = [];
  while (left.current !== undefined || right.current !== undefined) {
    if (isRemove(left.current)) {
      remove(result, left.count);
      left.advance();
    } else if (isInsert(right.current)) {
      insert(result, right.current);
      right.advance();
    } else if (left.current === undefined || right.current === undefined) {
      throw mismatch();
    } else {
      const count = Math.min(left.count, right.count);
      if (isInsert(left.current)) {
        if (isRetain(right.current)) insert(result, left.current.slice(0, count));
      } else if (isRetain(right.current)) {
        retain(result, count);
      } else {
        remove(result, count);
      }
      left.take(count);
      right.take(count);
    }
  }
  return result;
}

/**
 * Makes two concurrent operations follow each other, either way round. Where both insert at one place, the text of `earlier`, which
 * the server has put first, comes to the left.
 */
export function transform(earlier, later) {
  const first = new Reader(earlier);
  const second = new Reader(later);
  const result = [[], []];
  while (first.current !== undefined || second.current !== undefined) {
    if (isInsert(first.current)) {
      insert(result[0], first.current);
      retain(result[1], first.count);
      first.advance();
    } else if (isInsert(second.current)) {
      retain(result[0], second.count);
      insert(result[1], second.current);
      second.advance();
    } else if (first.current === undefined || second.current === undefined) {
      throw mismatch();
    } else {
      const count = Math.min(first.count, second.count);
      if (isRetain(first.current) && isRetain(second.current)) {
        retain(result[0], count);
        retain(result[1], count);
      } else if (isRemove(first.current) && isRetain(second.current)) {
        remove(result[0], count);
      } else if (isRetain(first.current)) {
        remove(result[1], count);
      }
      first.take(count);
      second.take(count);
    }
  }
  return result;
}

/** Where a place is after the operation: its author's cursor goes behind what they insert there, another's stays before it. */
export function moved(position, operation, isAuthors = false) {
  let read = 0;
  let written = 0;
  for (const component of operation) {
    if (read > position || (read === position && !isAuthors)) break;
    if (isInsert(component)) {
      written += component.length;
    } else if (component > 0) {
      if (read + component > position) return written + position - read;
      read += component;
      written += component;
    } else {
      if (read - component > position) return written;
      read -= component;
    }
  }
  return written + Math.max(0, position - read);
}

/** Two operations that together do what one does; the first inserts at most `limit` units. `null` if one is enough. */
export function split(operation, limit) {
  let inserted = 0;
  let index = 0;
  for (; index < operation.length; index += 1) {
    const component = operation[index];
    if (!isInsert(component)) continue;
    if (inserted + component.length > limit) break;
    inserted += component.length;
  }
  if (index === operation.length) return null;
  const first = operation.slice(0, index);
  const second = identity(targetLength(first));
  let text = operation[index];
  let count = limit - inserted;
  if (isHighSurrogate(text.charCodeAt(count - 1))) count -= 1;
  if (count > 0) {
    insert(first, text.slice(0, count));
    retain(second, count);
    text = text.slice(count);
  }
  insert(second, text);
  for (const component of operation.slice(index + 1)) {
    if (isInsert(component)) {
      insert(second, component);
    } else if (component > 0) {
      retain(first, component);
      retain(second, component);
    } else {
      retain(first, -component);
      remove(second, -component);
    }
  }
  return [first, second];
}

export function isHighSurrogate(unit) {
  return unit >= 0xd800 && unit < 0xdc00;
}

/**
 * The change of one place that leads from one text to another, as typing makes it.
 *
 * @param caret Where the cursor stands afterwards: what follows it is what followed before. Tells which of two equal letters is
 *     the new one.
 */
export function typed(before, after, caret = after.length) {
  const suffixMax = Math.min(before.length, after.length, Math.max(after.length - caret, 0));
  let suffix = 0;
  while (suffix < suffixMax && before.charCodeAt(before.length - 1 - suffix) === after.charCodeAt(after.length - 1 - suffix)) suffix += 1;
  const prefixMax = Math.min(before.length, after.length) - suffix;
  let prefix = 0;
  while (prefix < prefixMax && before.charCodeAt(prefix) === after.charCodeAt(prefix)) prefix += 1;
  // What the caret doesn't tell (a deletion forwards, a replacement from elsewhere) may leave more at the end.
  while (
    prefix + suffix < Math.min(before.length, after.length) &&
    before.charCodeAt(before.length - 1 - suffix) === after.charCodeAt(after.length - 1 - suffix)
  ) suffix += 1;
  // Neither border may lie inside a surrogate pair, of either text.
  if (prefix > 0 && isHighSurrogate(before.charCodeAt(prefix - 1))) prefix -= 1;
  if (suffix > 0 && isLowSurrogate(before.charCodeAt(before.length - suffix))) suffix -= 1;
  return replacing(before.length, prefix, before.length - prefix - suffix, after.slice(prefix, after.length - suffix));
}

function isLowSurrogate(unit) {
  return unit >= 0xdc00 && unit < 0xe000;
}

/**
 * The shortest change from one text to another (E. W. Myers, "An O(ND) difference algorithm and its variations", 1986), by words, so that what
 * is brought over it doesn't end up inside one. Texts that differ in more than `limit` words are told apart as one place.
 */
export function difference(before, after, limit = 500) {
  const left = before.match(words) ?? [];
  const right = after.match(words) ?? [];
  const furthest = new Map([[1, 0]]);
  const trace = [];
  for (let distance = 0; distance <= Math.min(limit, left.length + right.length); distance += 1) {
    trace.push(new Map(furthest));
    for (let k = -distance; k <= distance; k += 2) {
      const down = k === -distance || (k !== distance && furthest.get(k - 1) < furthest.get(k + 1));
      let x = down ? furthest.get(k + 1) : furthest.get(k - 1) + 1;
      while (x < left.length && x - k < right.length && left[x] === right[x - k]) x += 1;
      furthest.set(k, x);
      if (x >= left.length && x - k >= right.length) return traced(trace, left, right);
    }
  }
  return typed(before, after);
}

const words = /[\p{L}\p{N}\p{M}_]+|[^]/gu;

function traced(trace, left, right) {
  const steps = [];
  let x = left.length;
  let y = right.length;
  for (let distance = trace.length - 1; distance >= 0 && (x > 0 || y > 0); distance -= 1) {
    const furthest = trace[distance];
    const k = x - y;
    const down = k === -distance || (k !== distance && furthest.get(k - 1) < furthest.get(k + 1));
    const previous = down ? k + 1 : k - 1;
    const startX = distance === 0 ? 0 : furthest.get(previous);
    const startY = distance === 0 ? 0 : startX - previous;
    while (x > startX && y > startY) {
      x -= 1;
      y -= 1;
      steps.push(left[x].length);
    }
    if (distance === 0) break;
    if (down) steps.push((y -= 1, right[y]));
    else steps.push((x -= 1, -left[x].length));
  }
  const operation = [];
  for (const step of steps.reverse()) {
    if (isInsert(step)) insert(operation, step);
    else if (step > 0) retain(operation, step);
    else remove(operation, -step);
  }
  return operation;
}
