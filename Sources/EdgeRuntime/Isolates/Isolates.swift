// Isolates is how a node runs a version: it starts sandboxed processes, watches what they use, ends
// those that break a limit, and says when there should be more or fewer of them. It neither reads nor
// writes a channel, and knows no request: that is the business of Host.
//
//     IsolateImage ── IsolateSpecification ──▶ Supervisor.spawn ──▶ SpawnedIsolate (channels, ledgers)
//                                                 │ one thread: spawns, reaps, reads stderr, watches
//                                                 ▼
//                                              onExit(IsolateExit)
//
// Everything that decides is a value without a clock: Watchdog, Autoscaler, CrashLoopBackoff, PoolState,
// LeastLoaded.
