// Interfaces is what a handler calls (KVNamespace, D1Database, R2Bucket, Queue, …) and the messages that carry each
// call to the node. It holds no engine and no socket: how a message travels is given to it as a
// `BindingTransport`, and what answers it is a store that never sees these types' callers.
