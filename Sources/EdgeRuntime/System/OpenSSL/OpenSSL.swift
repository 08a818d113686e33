// OpenSSL.
