#pragma once
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

// EVP_PKEY_Q_keygen is variadic; BIO_get_mem_data and the constants below are macros with casts or operators.
static inline EVP_PKEY *edge_generate_rsa(size_t bits) { return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", bits); }
static inline EVP_PKEY *edge_generate_ec(const char *group) { return EVP_PKEY_Q_keygen(NULL, NULL, "EC", group); }
static inline EVP_PKEY *edge_generate_ed25519(void) { return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"); }
static inline size_t edge_bio_contents(BIO *bio, const char **bytes) {
    char *start = NULL;
    long count = BIO_get_mem_data(bio, &start);
    *bytes = start;
    return count > 0 ? (size_t)count : 0;
}
static const int EDGE_SELECT_PUBLIC_KEY = EVP_PKEY_PUBLIC_KEY, EDGE_SELECT_KEY_PAIR = EVP_PKEY_KEYPAIR;
static const int EDGE_GCM_SET_TAG = EVP_CTRL_AEAD_SET_TAG, EDGE_GCM_GET_TAG = EVP_CTRL_AEAD_GET_TAG;
static const int EDGE_RSA_PKCS1 = RSA_PKCS1_PADDING, EDGE_RSA_PSS = RSA_PKCS1_PSS_PADDING,
                 EDGE_PSS_SALT_AS_DIGEST = RSA_PSS_SALTLEN_DIGEST;
