// Observability is how a node tells what it does: log records, counters and histograms. It formats and writes; it
// decides nothing about what is worth telling, and it never blocks the thread that tells it.
