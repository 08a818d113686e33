internal import CTLS
package import System

/// A certificate that nobody else has signed, for a developer's machine. There is no authority behind it: who trusts it trusts
/// this one key for these names, not whatever a key in a home directory could sign.
package enum SelfSignedCertificate {
    /// What browsers accept of certificates at most is 398 days.
    package static let validity = Duration.seconds(397 * 86_400)

    /// Makes a key (P-256) and a certificate for `names` and `addresses`, as PEM.
    package static func make(
        names: [String], addresses: [String], now: UnixTime
    ) throws(TLSError) -> (certificate: [UInt8], key: [UInt8]) {
        let subject = "self-signed certificate"
        ERR_clear_error()
        guard let key = unsafe edge_tls_generate_p256() else { throw .take(subject) }
        defer { unsafe EVP_PKEY_free(key) }
        guard let certificate = unsafe X509_new() else { throw .take(subject) }
        defer { unsafe X509_free(certificate) }
        var serial: UInt64 = 0
        // SAFETY: the library fills the integer whose address and size it is given.
        guard unsafe withUnsafeMutableBytes(of: &serial, { unsafe RAND_bytes($0.baseAddress, Int32($0.count)) }) == 1,
            unsafe X509_set_version(certificate, 2) == 1,  // Counted from zero: version 3.
            unsafe ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1 | 1) == 1,
            // An hour ago: clocks of virtual machines differ.
            unsafe ASN1_TIME_set(X509_getm_notBefore(certificate), Int(now.seconds - 3600)) != nil,
            unsafe ASN1_TIME_set(X509_getm_notAfter(certificate), Int((now + validity).seconds)) != nil,
            unsafe X509_set_pubkey(certificate, key) == 1
        else { throw .take(subject) }
        let common = Array("edge on this machine".utf8)
        let name = unsafe X509_get_subject_name(certificate)
        guard unsafe X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, common, Int32(common.count), -1, 0) == 1,
            unsafe X509_set_issuer_name(certificate, name) == 1
        else { throw .take(subject) }
        let hosts = names.map { "DNS:\($0)" } + addresses.map { "IP:\($0)" }
        for (kind, value) in [
            (NID_subject_alt_name, hosts.joined(separator: ",")), (NID_basic_constraints, "critical,CA:FALSE"),
            (NID_key_usage, "critical,digitalSignature"), (NID_ext_key_usage, "serverAuth"),
            (NID_subject_key_identifier, "hash"),
        ] { unsafe try add(kind, value, to: certificate, subject) }
        guard unsafe X509_sign(certificate, key, EVP_sha256()) > 0 else { throw .take(subject) }
        return (
            unsafe try pem(subject) { unsafe PEM_write_bio_X509($0, certificate) },
            unsafe try pem(subject) { unsafe PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil) }
        )
    }

    private static func add(
        _ kind: Int32, _ value: String, to certificate: OpaquePointer, _ subject: String
    ) throws(TLSError) {
        var context = unsafe X509V3_CTX()
        // SAFETY: the certificates that the context points to outlive this call.
        unsafe X509V3_set_ctx(&context, certificate, certificate, nil, nil, 0)
        guard let part = unsafe X509V3_EXT_conf_nid(nil, &context, kind, value) else { throw .take(subject) }
        defer { unsafe X509_EXTENSION_free(part) }
        guard unsafe X509_add_ext(certificate, part, -1) == 1 else { throw .take(subject) }
    }

    private static func pem(
        _ subject: String, _ write: (OpaquePointer) -> Int32
    ) throws(TLSError) -> [UInt8] {
        guard let bio = unsafe BIO_new(BIO_s_mem()) else { throw .take(subject) }
        defer { unsafe BIO_free(bio) }
        guard unsafe write(bio) == 1 else { throw .take(subject) }
        var start: UnsafePointer<CChar>?
        let count = unsafe edge_tls_bio_contents(bio, &start)
        // SAFETY: the BIO owns `count` bytes at `start` until it is freed.
        return unsafe Array(UnsafeRawBufferPointer(start: start, count: count))
    }
}
