// Zlib is the owner of zlib: gzip, as HTTP has it (RFC 1952), and nothing else of what the library can do. It runs on the
// caller's thread; how much it is given at a time is the caller's business.
//
// Rules of the library that hold here (zlib.h): a z_stream belongs to one thread at a time, keeps pointers to its input and
// output during a call only, and about 256 KiB of its own until deflateEnd. Errors are codes; the only one that a stream
// used as here can meet is want of memory, at its start.
