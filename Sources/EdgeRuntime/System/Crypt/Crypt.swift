// Crypt is the owner of libcrypt (libxcrypt): bcrypt, and nothing else of what crypt(3) can do. It runs on
// the caller's thread for as long as the cost says; keeping that off an event loop is the caller's
// business.
//
// Rules of the library that hold here (crypt(3), crypt_gensalt(3)): `crypt_rn` keeps all state in the
// `crypt_data` that it is given, 32 KiB, zeroed before first use, and so may run on any number of threads;
// a failure is NULL. `crypt_gensalt_rn` writes the setting into the caller's buffer.
