// OpenSSL is the owner of libcrypto: digests, random bytes, MACs, authenticated encryption, keys and
// signatures, each as one small type without a pointer in its interface. It chooses no algorithm for
// anybody and parses no protocol; JWT and JWK are the business of WorkersCrypto, and libssl is that
// of TLS, so that workers don't load it.
//
// Rules of the library that hold here (openssl-threads(7), EVP_MD_fetch(3), EVP_PKEY_new(3)):
// - Since 1.1.0 it initialises itself and is safe on several threads as long as one object is used by one
//   thread at a time. An EVP_PKEY that is no longer changed may be shared; a context (EVP_MD_CTX,
//   EVP_CIPHER_CTX, EVP_PKEY_CTX) may not. Contexts are therefore `~Copyable` or live inside one call.
// - What `EVP_sha256()` and its like return lives as long as the process. What `…_new`, `d2i_…` and
//   `PEM_read_…` return is owned by the caller and freed once.
// - Errors wait in a queue per thread. A failing call takes what it needs from it and clears it, so that
//   no later caller on the thread reads them.
