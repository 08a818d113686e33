// Clients of the browser's own code, driven line by line by a test: one JSON command in, one JSON answer out.
import { createInterface } from "node:readline";

const [, , assets] = process.argv;
const { SharedDocument } = await import(`${assets}/document.js`);
const { apply, difference, moved, replacing, transform, compose, inverse, split, typed } = await import(`${assets}/operation.js`);

const peers = new Map();

const commands = {
  open: ({ peer, client }) => void peers.set(peer, new SharedDocument({ client })),
  join: ({ peer }) => peers.get(peer).joinMessage(),
  take: ({ peer }) => peers.get(peer).takeMessage(),
  edit({ peer, operation }) {
    peers.get(peer).change(operation);
  },
  type({ peer, text, caret }) {
    const document = peers.get(peer);
    document.change(typed(document.text, text, caret));
    if (document.text !== text) throw new Error("typed() made another text");
  },
  undo: ({ peer }) => void peers.get(peer).undo(),
  redo: ({ peer }) => void peers.get(peer).redo(),
  disconnect: ({ peer }) => void (peers.get(peer).isJoined = false),
  /** As a page that is closed and opened again. */
  reload({ peer }) {
    const state = JSON.parse(JSON.stringify(peers.get(peer).state));
    peers.set(peer, new SharedDocument({ client: state.client, state }));
  },
  receive({ peer, message }) {
    const document = peers.get(peer);
    switch (message.type) {
      case "joined": return { lost: document.receiveJoined(message) };
      case "operation": return { fits: document.receiveOperation(message) };
      case "ack": return document.receiveAcknowledgement(message);
      default: return null;
    }
  },
  // The algebra alone.
  apply: ({ text, operation }) => apply(text, operation),
  transform: ({ first, second }) => transform(first, second),
  compose: ({ first, second }) => compose(first, second),
  inverse: ({ text, operation }) => inverse(text, operation),
  moved: ({ position, operation, isAuthors }) => moved(position, operation, isAuthors),
  difference: ({ before, after, limit }) => difference(before, after, limit),
  split: ({ operation, limit }) => split(operation, limit),
  replacing: ({ length, position, count, text }) => replacing(length, position, count, text),
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let answer;
  try {
    const result = commands[command.do](command) ?? null;
    const document = command.peer === undefined ? null : peers.get(command.peer);
    answer = { result, text: document?.text ?? null, hasUnsaved: document?.hasUnsaved ?? null };
  } catch (error) {
    answer = { error: String(error.stack ?? error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
