// Brotli is the owner of libbrotli: the `br` coding of HTTP (RFC 7932). It runs on the caller's thread; how much it is given
// at a time is the caller's business.
//
// Rules of the library that hold here (brotli/encode.h): an encoder belongs to one thread at a time, and keeps pointers to its
// input and output during a call only. What it holds of its own follows its window and quality, which are bounded here.
