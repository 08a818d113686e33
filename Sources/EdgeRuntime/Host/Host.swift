// Host is the node's request path: reactors that own sockets and channels, the routing table, dispatch to isolates, the
// streams between them, and what ends them (limits, time-outs, drain). It starts no process itself (Isolates
// does), keeps no data (Stores do) and decides nothing about releases (Deploy does).
//
// One thread, one owner: a reactor's connections, channels and streams are touched by its thread alone. What other
// threads have to say arrives through its mailbox.
