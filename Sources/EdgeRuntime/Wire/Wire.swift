// Wire is the language that a node and its isolates speak: frames on a Unix stream socket, the streams
// they belong to, and the credit that bounds them. It opens nothing and knows no call: what a payload
// means is the business of Interfaces.
//
// A channel carries streams. Either side opens one: the node uses odd numbers, the isolate even ones,
// each number once. A stream has two directions, and in each direction travels, in this order:
//
//     open, data*, (end | reset)
//
// The first `open` is the call, the `open` in the other direction is its reply. `FrameFlags.end` on an
// `open` or a `data` frame stands for the `end` frame that would follow. `data` is paid for with credit:
// a direction starts with `WireLimits.initialCredit` bytes (or none, see `FrameFlags.lazyBody`), and
// the receiver sends `credit` as it consumes. `reset` ends both directions at once.
