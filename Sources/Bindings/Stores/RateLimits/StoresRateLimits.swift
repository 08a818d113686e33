// RateLimits counts calls per key within a sliding window, in memory, for all isolates and reactors of a node. It keeps
// nothing on disk and waits for nothing: each call is answered where it arrives.
//
// The window is exact: a call is refused if and only if the last period holds as many allowed ones as the limit says. That
// takes the moments of the allowed calls, so memory is bounded in two ways. A window keeps at most a few thousand moments:
// above that limit they are rounded up to the next 4096th of the period, which lets an allowance return late by as much, and
// never early. And the table of windows has a size in bytes: when it is full, the key that was quiet for longest is
// forgotten, and would begin anew.
