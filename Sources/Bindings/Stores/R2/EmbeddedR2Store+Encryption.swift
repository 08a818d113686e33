internal import Interfaces
internal import OpenSSL
internal import Stores

extension EmbeddedR2Store {
    /// What is stored of a key.
    static func md5(of key: R2CustomerKey) -> [UInt8] { Digest.hash(key.bytes, with: .md5) }

    /// Whether `key` is what the object's bytes need, or none when they need none.
    static func check(_ key: R2CustomerKey?, for object: StoredObject) throws(R2Failure) {
        switch (object.ssecKeyMD5, key) {
        case (nil, nil): return
        case (nil, _): throw .encryption(.keyNotApplicable)
        case (_, nil): throw .encryption(.keyMissing)
        case (let stored?, let key?):
            guard ConstantTime.areEqual(stored, md5(of: key)) else { throw .encryption(.keyMismatch) }
        }
    }

    /// The same for a part of an upload.
    static func check(_ key: R2CustomerKey?, for upload: StoredUpload) throws(R2Failure) {
        switch (upload.ssecKeyMD5, key) {
        case (nil, nil): return
        case (nil, _): throw .encryption(.partKeyMismatch)
        case (_, nil): throw .encryption(.partKeyMissing)
        case (let stored?, let key?):
            guard ConstantTime.areEqual(stored, md5(of: key)) else { throw .encryption(.partKeyMismatch) }
        }
    }

    /// The plain bytes of `stretches`; `done` is called once nobody reads them any more.
    func makeSource(
        _ stretches: [PiecesSource.Stretch], key: R2CustomerKey?, done: @escaping @Sendable () -> Void
    ) -> any BodySource {
        if let key {
            SealedSource(stretches, key: key, files: files, threads: threads, done: done)
        } else {
            PiecesSource(stretches, files: files, threads: threads, done: done)
        }
    }
}
