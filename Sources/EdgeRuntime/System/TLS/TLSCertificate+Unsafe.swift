internal import CTLS
internal import System

/// One certificate with its chain and key, as libssl wants it for handshakes. Immutable once made.
@safe final class TLSCertificate {
    let files: TLSFiles
    /// The hosts that it is for, in lower case; `*.` in front stands for one label.
    let names: [String]
    let expires: UnixTime
    /// Changes when the files do.
    let fingerprint: [UInt8]
    let pointer: OpaquePointer

    deinit { unsafe SSL_CTX_free(pointer) }

    /// A chain of a dozen certificates has some 30 KiB.
    private static let fileBytesMax = 1 << 20

    /// Reads and checks the files; blocks.
    init(_ files: TLSFiles, now: UnixTime) throws(TLSError) {
        self.files = files
        let chain = try Self.read(files.certificate)
        // Before it is read: that others can, is to be known whatever is in it.
        try Self.checkIsPrivate(files.key)
        let key = try Self.read(files.key)
        guard let context = unsafe SSL_CTX_new(TLS_server_method()) else { throw .take("SSL_CTX_new") }
        unsafe pointer = context
        ERR_clear_error()
        let leaf = unsafe try Self.install(chain, of: files, in: context)
        defer { unsafe X509_free(leaf) }
        names = unsafe Self.names(of: leaf)
        expires = unsafe Self.time(X509_get0_notAfter(leaf))
        fingerprint = unsafe Self.fingerprint(of: leaf)
        let starts = unsafe Self.time(X509_get0_notBefore(leaf))
        guard now >= starts else { throw .notYetValid(files.certificate, from: starts) }
        guard now < expires else { throw .expired(files.certificate, since: expires) }
        unsafe try Self.install(key: key, of: files, in: context)
    }

    private static func read(_ path: String) throws(TLSError) -> [UInt8] {
        if let status = FileTree.status(path), status.byteCount > fileBytesMax { throw .tooLarge(path, limit: fileBytesMax) }
        do { return try FileTree.read(path) } catch { throw .system(error) }
    }

    private static func checkIsPrivate(_ path: String) throws(TLSError) {
        let mode: UInt32
        do { mode = try FileTree.permissions(of: path) } catch { throw .system(error) }
        guard mode & 0o004 == 0 else { throw .keyIsOpen(path, mode: mode) }
    }

    /// Puts the certificates into the context.
    ///
    /// - Returns: the first one, owned by the caller.
    private static func install(
        _ chain: [UInt8], of files: TLSFiles, in context: OpaquePointer
    ) throws(TLSError) -> OpaquePointer {
        guard let bio = unsafe bio(chain) else { throw .take(files.certificate) }
        defer { unsafe BIO_free(bio) }
        guard let leaf = unsafe PEM_read_bio_X509(bio, nil, refusePassphrase, nil) else {
            let isAbsent = edge_tls_reason(ERR_peek_last_error()) == PEM_R_NO_START_LINE
            let error = TLSError.take(files.certificate)
            throw isAbsent ? .noCertificate(files.certificate) : error
        }
        guard unsafe SSL_CTX_use_certificate(context, leaf) == 1 else {
            unsafe X509_free(leaf)
            throw .take(files.certificate)
        }
        while let next = unsafe PEM_read_bio_X509(bio, nil, refusePassphrase, nil) {
            let added = unsafe edge_tls_add_chain(context, next)
            unsafe X509_free(next)
            guard added == 1 else {
                unsafe X509_free(leaf)
                throw .take(files.certificate)
            }
        }
        // The end of the file is told as a missing start line; anything else is a certificate that is broken.
        guard edge_tls_reason(ERR_peek_last_error()) == PEM_R_NO_START_LINE else {
            unsafe X509_free(leaf)
            throw .take(files.certificate)
        }
        ERR_clear_error()
        return unsafe leaf
    }

    private static func install(key bytes: [UInt8], of files: TLSFiles, in context: OpaquePointer) throws(TLSError) {
        guard let bio = unsafe bio(bytes) else { throw .take(files.key) }
        defer { unsafe BIO_free(bio) }
        guard let key = unsafe PEM_read_bio_PrivateKey(bio, nil, refusePassphrase, nil) else {
            let text = String(decoding: bytes, as: UTF8.self)
            if text.contains("ENCRYPTED") {
                ERR_clear_error()
                throw .keyEncrypted(files.key)
            }
            guard text.contains("PRIVATE KEY-----") else {
                ERR_clear_error()
                throw .noKey(files.key)
            }
            throw .take(files.key)
        }
        defer { unsafe EVP_PKEY_free(key) }
        guard unsafe SSL_CTX_use_PrivateKey(context, key) == 1, unsafe SSL_CTX_check_private_key(context) == 1 else {
            let reason = edge_tls_reason(ERR_peek_last_error())
            let error = TLSError.take(files.key)
            throw reason == X509_R_KEY_VALUES_MISMATCH || reason == X509_R_KEY_TYPE_MISMATCH
                ? .keyMismatch(files) : error
        }
    }

    /// Without a callback of our own the library would ask for a passphrase on the terminal (pem_password_cb(3)).
    private static let refusePassphrase:
        @convention(c) (UnsafeMutablePointer<CChar>?, Int32, Int32, UnsafeMutableRawPointer?) -> Int32 = { _, _, _, _ in -1 }

    /// A BIO with a copy of `bytes`, owned by the caller.
    private static func bio(_ bytes: [UInt8]) -> OpaquePointer? {
        guard let bio = unsafe BIO_new(BIO_s_mem()) else { return nil }
        // SAFETY: the BIO copies the bytes that it is told about.
        guard bytes.isEmpty || (unsafe BIO_write(bio, bytes, Int32(bytes.count))) == Int32(bytes.count) else {
            unsafe BIO_free(bio)
            return nil
        }
        return unsafe bio
    }

    // MARK: What a certificate says

    private static func names(of leaf: OpaquePointer) -> [String] {
        guard let found = unsafe X509_get_ext_d2i(leaf, NID_subject_alt_name, nil, nil) else { return [] }
        let list = OpaquePointer(found)
        defer { unsafe GENERAL_NAMES_free(list) }
        var names: [String] = []
        for index in 0..<(unsafe edge_x509_name_count(list)) {
            var text: UnsafePointer<UInt8>?
            let count = unsafe edge_x509_dns_name(list, index, &text)
            guard count > 0, let text = unsafe text else { continue }
            // SAFETY: the name's bytes live as long as the list.
            names.append(
                unsafe String(decoding: UnsafeBufferPointer(start: text, count: Int(count)), as: UTF8.self).lowercased())
        }
        return names
    }

    private static func fingerprint(of leaf: OpaquePointer) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        // SAFETY: a digest has at most the bytes that the array has.
        guard unsafe X509_digest(leaf, EVP_sha256(), &digest, &count) == 1 else { return [] }
        return Array(digest.prefix(Int(count)))
    }

    private static func time(_ time: UnsafePointer<ASN1_TIME>?) -> UnixTime {
        var days: Int32 = 0
        var seconds: Int32 = 0
        // From 1970 to then; nothing is read from the system's clock.
        guard let epoch = unsafe ASN1_TIME_set(nil, 0) else { return UnixTime(milliseconds: 0) }
        defer { unsafe ASN1_TIME_free(epoch) }
        guard unsafe ASN1_TIME_diff(&days, &seconds, epoch, time) == 1 else { return UnixTime(milliseconds: 0) }
        return UnixTime(milliseconds: (Int64(days) * 86_400 + Int64(seconds)) * 1000)
    }
}
