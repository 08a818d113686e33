#pragma once
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

// Swift can't import function-like macros.
static inline int edge_bio_contents(BIO *bio, char **bytes) { return (int)BIO_get_mem_data(bio, bytes); }
static inline int edge_error_reason(unsigned long code) { return ERR_GET_REASON(code); }
