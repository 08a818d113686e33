// Queues keeps messages until a consumer has dealt with them: delays, leases, retries, dead letters, retention, each step
// durable. It delivers nothing itself: the node asks for leases when a consumer's scheduler says so, and settles them.
//
// A message is in one of two states. *Ready* from a time on: it stands in the ready index under (queue, time, sequence),
// and leaves by a lease. *Leased*: it stands in the lease index under (queue, expiry, sequence), and leaves by settlement
// (gone, ready again after a delay, or moved to the dead letter queue), by release, by the expiry of a pull's lease, or,
// for a worker's lease, when the store is opened again. Retention and purge end either state.
//
// Every step is one transaction over all it touches, so no crash loses a message or counts one twice.
