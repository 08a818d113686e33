#pragma once
#include <zlib.h>

// deflateInit2 and inflateInit2 are macros, which Swift doesn't import. 16 more window bits mean gzip's header and trailer.
static inline int edge_gzip_deflate_init(z_stream *stream, int level) {
    return deflateInit2(stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
}

static inline int edge_gzip_inflate_init(z_stream *stream) { return inflateInit2(stream, 15 + 16); }

// Negative window bits mean data without header and trailer (RFC 1951).
static inline int edge_raw_deflate_init(z_stream *stream, int level, int window_bits) {
    return deflateInit2(stream, level, Z_DEFLATED, -window_bits, 8, Z_DEFAULT_STRATEGY);
}

static inline int edge_raw_inflate_init(z_stream *stream) { return inflateInit2(stream, -15); }
