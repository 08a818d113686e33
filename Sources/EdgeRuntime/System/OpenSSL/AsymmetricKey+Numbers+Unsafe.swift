internal import COpenSSL
internal import Glibc

// Big-endian numbers in and out of the library's keys and signatures.
extension AsymmetricKey {
    /// Builds a key from numbers (EVP_PKEY_fromdata(3)); the names are those of EVP_PKEY-RSA(7) and
    /// EVP_PKEY-EC(7).
    static func make(
        _ type: String, _ part: Part, numbers: [(name: String, value: [UInt8])], group: String?,
        point: [UInt8]?
    ) throws(OpenSSLError) -> OpaquePointer {
        guard let builder = unsafe OSSL_PARAM_BLD_new() else { throw .take("key") }
        defer { unsafe OSSL_PARAM_BLD_free(builder) }
        // The builder keeps references to all of these until `to_param` copied them.
        let names = unsafe numbers.map { unsafe strdup($0.name) }
        let values = unsafe numbers.map { unsafe BN_bin2bn($0.value, Int32($0.value.count), nil) }
        let groupName = unsafe group.map { unsafe strdup($0) } ?? nil
        let keys = unsafe (group: strdup("group"), point: strdup("pub"))
        let pointBytes = unsafe point.map { bytes in
            let copy = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: bytes.count)
            _ = unsafe copy.initialize(from: bytes)
            return unsafe copy
        }
        defer {
            // SAFETY: each was allocated above and is freed once; BN_clear_free wipes private numbers.
            unsafe names.forEach { unsafe free($0) }
            unsafe values.forEach { unsafe BN_clear_free($0) }
            unsafe free(groupName)
            unsafe free(keys.group)
            unsafe free(keys.point)
            unsafe pointBytes?.deallocate()
        }
        for index in numbers.indices {
            guard unsafe values[index] != nil,
                unsafe OSSL_PARAM_BLD_push_BN(builder, names[index], values[index]) == 1
            else { throw .take("key") }
        }
        if unsafe groupName != nil {
            guard unsafe OSSL_PARAM_BLD_push_utf8_string(builder, keys.group, groupName, 0) == 1 else {
                throw .take("key")
            }
        }
        if let pointBytes = unsafe pointBytes {
            guard
                unsafe OSSL_PARAM_BLD_push_octet_string(
                    builder, keys.point, pointBytes.baseAddress, pointBytes.count) == 1
            else { throw .take("key") }
        }
        guard let parameters = unsafe OSSL_PARAM_BLD_to_param(builder) else { throw .take("key") }
        defer { unsafe OSSL_PARAM_free(parameters) }
        guard let context = unsafe EVP_PKEY_CTX_new_from_name(nil, type, nil) else { throw .take("key") }
        defer { unsafe EVP_PKEY_CTX_free(context) }
        var pointer: OpaquePointer?
        let selection = part == .pair ? EDGE_SELECT_KEY_PAIR : EDGE_SELECT_PUBLIC_KEY
        guard unsafe EVP_PKEY_fromdata_init(context) == 1,
            unsafe EVP_PKEY_fromdata(context, &pointer, selection, parameters) == 1,
            let pointer = unsafe pointer
        else { throw .take("\(type) key") }
        // A point off the curve must never be computed with (invalid-curve attacks).
        guard let checker = unsafe EVP_PKEY_CTX_new_from_pkey(nil, pointer, nil) else {
            unsafe EVP_PKEY_free(pointer)
            throw .take("key")
        }
        defer { unsafe EVP_PKEY_CTX_free(checker) }
        guard unsafe EVP_PKEY_public_check(checker) == 1 else {
            unsafe EVP_PKEY_free(pointer)
            throw .take("\(type) key")
        }
        return unsafe pointer
    }

    func number(_ name: String, paddedTo length: Int? = nil) throws(OpenSSLError) -> [UInt8] {
        var value: OpaquePointer?
        // SAFETY: the library allocates the number, which is freed below.
        guard unsafe EVP_PKEY_get_bn_param(pointer, name, &value) == 1, let value = unsafe value else {
            throw .take("read \(name)")
        }
        defer { unsafe BN_clear_free(value) }
        let count = unsafe length ?? Int((BN_num_bits(value) + 7) / 8)
        var bytes = [UInt8](repeating: 0, count: count)
        // SAFETY: exactly `count` bytes are written, or −1 is returned.
        guard unsafe BN_bn2binpad(value, &bytes, Int32(count)) == Int32(count) else {
            throw .take("read \(name)")
        }
        return bytes
    }

    /// DER to r ‖ s.
    static func rawSignature(der: [UInt8], fieldByteCount: Int) -> [UInt8]? {
        // SAFETY: the parser reads inside the array; the numbers belong to the signature object.
        unsafe der.withUnsafeBufferPointer { der -> [UInt8]? in
            var position = der.baseAddress
            guard let signature = unsafe d2i_ECDSA_SIG(nil, &position, der.count) else { return nil }
            defer { unsafe ECDSA_SIG_free(signature) }
            var raw = [UInt8](repeating: 0, count: 2 * fieldByteCount)
            let length = Int32(fieldByteCount)
            let filled = unsafe raw.withUnsafeMutableBufferPointer { raw in
                unsafe BN_bn2binpad(ECDSA_SIG_get0_r(signature), raw.baseAddress, length) == length
                    && BN_bn2binpad(
                        ECDSA_SIG_get0_s(signature), raw.baseAddress?.advanced(by: fieldByteCount), length)
                        == length
            }
            return filled ? raw : nil
        }
    }

    /// r ‖ s to DER.
    static func derSignature(raw: [UInt8], fieldByteCount: Int) -> [UInt8]? {
        guard let signature = unsafe ECDSA_SIG_new() else { return nil }
        defer { unsafe ECDSA_SIG_free(signature) }
        let length = Int32(fieldByteCount)
        let r = Array(raw.prefix(fieldByteCount))
        let s = Array(raw.suffix(fieldByteCount))
        guard let first = unsafe BN_bin2bn(r, length, nil) else { return nil }
        guard let second = unsafe BN_bin2bn(s, length, nil) else {
            unsafe BN_free(first)
            return nil
        }
        // SAFETY: on success the signature owns both numbers.
        guard unsafe ECDSA_SIG_set0(signature, first, second) == 1 else {
            unsafe BN_free(first)
            unsafe BN_free(second)
            return nil
        }
        let count = unsafe i2d_ECDSA_SIG(signature, nil)
        guard count > 0 else { return nil }
        return unsafe [UInt8](unsafeUninitializedCapacity: Int(count)) { buffer, filled in
            var position = buffer.baseAddress
            // SAFETY: the same object was measured just before.
            filled = unsafe max(0, Int(i2d_ECDSA_SIG(signature, &position)))
        }
    }
}
