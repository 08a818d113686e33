// StoresCache keeps responses: whole ones, each under a key and a variant, the least recently used making room for others.
// What may be kept, and for how long, is decided by `Caching`; this room stores what it is told to.
//
// On disk, below the directory it is given:
//
//     0 … f/<16 hex>.e       one entry: its description, and its body up to `inlineBytesMax` bytes
//     0 … f/<16 hex>.b       a larger body
//     tmp/                   what is being written
//     boot                   when the machine was started that has written all that
//
// Both kinds of files are written in tmp/ and renamed when they are complete, the body first; so a process that is killed
// leaves whole entries and, perhaps, bodies that no entry names, which go at the next start. Nothing is synced: a cache is
// what may be lost. After a crash of the machine files can have holes, so everything goes when the machine was started anew.
//
// The index is in memory and made from the entries' files at each start. Small bodies that were asked for stay in memory,
// the least recently used making room.
