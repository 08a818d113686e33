// HTTP is what a node and its workers know of RFC 9110 and RFC 9112: request and response heads, chunked
// bodies, header fields, dates, cookies, and the URLs of the WHATWG. It takes bytes and values and gives
// bytes and values back: it opens nothing, reads no clock, and decides nothing that a request means.
//
// Http1/     heads and chunks: parsed in place, written into a `ByteBuffer`
// Messages/  `Headers`, `Method`, `Cookie`, `MediaType`, `HTTPDate`
// URL/       `WebURL`, `URLSearchParameters`
// Routing/   patterns of host and path
//
// Two readings of one request are how requests are smuggled past a proxy, so Http1 has one reading: what the
// grammar doesn't allow, or allows twice, is refused. All parsers go from left to right, and each refusal
// depends only on the bytes up to the place where it happens, so the outcome is the same however the bytes
// were split.
