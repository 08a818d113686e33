// Analytics keeps data points in files that only grow, one for each dataset and hour, and answers SQL about them. It knows
// the node's disk and clock; who may ask, and over which protocol, others decide.
//
// A point is taken in memory and acknowledged to nobody. Within `flushInterval` it is written and synced: from then on it
// survives kill -9 and power loss. Records carry a checksum; what a crash has torn is cut off before the file grows again,
// and a query ends there with what is whole. Files leave as a whole when their hour is older than the retention.
//
//     <dataset>/<hours since 1970, ten digits>.points
//     file:    "edge-ae1", then records
//     record:  u32 byte count and u32 CRC-32 of what follows; i64 milliseconds; u8 count, then u8 length and bytes of each
//              index; u8 count, then u16 length and bytes of each blob; u8 count, then the bits of each double. Little-endian.
