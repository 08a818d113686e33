// Queues.
