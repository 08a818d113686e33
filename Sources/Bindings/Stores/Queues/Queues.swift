// Queues keeps messages until a consumer has dealt with them: delays, leases, retries, dead letters,
// retention, each step durable. It delivers nothing itself: the node asks for leases when a consumer's
// scheduler says so, and settles them.
//
// A message is in one of two states. *Ready* from a time on: it stands in the ready index under (queue, time,
// sequence), and leaves by a lease. *Leased*: it stands in the lease index under (queue, expiry, sequence),
// and leaves by settlement (gone, ready again after a delay, or moved to the dead letter queue), by release,
// by the expiry of a pull's lease, or, for a worker's lease, when the store is opened again. Retention and
// purge end either state. What was acknowledged goes into the history, where it waits to be replayed: until its
// retention ends, or newer messages need the room.
//
// A queue has at most one consumer, which is stored beside it: a worker, to which the node pushes, or clients that
// pull. Releases set those that they configure; all others belong to whoever manages the tenant's queues.
//
// Each body has a checksum. A message that is damaged is set aside and told in the log, so that those behind it
// don't wait for it; `verify` lists what doesn't fit together.
//
// Every step is one transaction over all it touches, so no crash loses a message or counts one twice.
