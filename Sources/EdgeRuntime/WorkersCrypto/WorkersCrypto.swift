// WorkersCrypto is the cryptography that services need: hashes, MACs, authenticated encryption,
// signatures, JWK, JWT and bcrypt, in types that are hard to misuse. It implements no primitive (libcrypto
// and libcrypt do) and reads no clock: whoever checks a token says what time it is.
