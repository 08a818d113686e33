internal import HTTP
package import Host
package import Interfaces
package import Observability
package import StoresR2

/// A bucket as everybody may read it, under a host name of its own: GET and HEAD of objects, with conditions, ranges (RFC 9110)
/// and the bucket's CORS rules. A path is a key. It never lists, and nobody learns more than whether an object is there.
package struct PublicBucket: LocalHandler {
    private let store: EmbeddedR2Store
    private let domain: R2BucketDomain
    private let record: [UInt8]
    private let logger: Logger

    package init(_ domain: R2BucketDomain, in store: EmbeddedR2Store, logger: Logger) {
        self.store = store
        self.domain = domain
        self.logger = logger
        // Its members are texts and numbers; what couldn't be encoded wouldn't be found either.
        record = (try? domain.record) ?? []
    }

    /// Whether the bucket may still be read here: routes follow what is recorded a moment later.
    private var isInService: Bool { store.hasDomain(domain.name, recordedAs: record) }

    package func answer(_ request: LocalRequest) async -> LocalResponse {
        guard isInService else { return Self.missing }
        if let refusal = refusal(of: request.tls) { return refusal }
        // The bucket may be gone by now: then it has no rules either.
        let cors = CrossOrigin(rules: (try? store.corsRules(of: domain.bucket)) ?? [])
        guard request.method != "OPTIONS" else { return preflight(request, cors) }
        var response = await read(request)
        if let origin = request.header("origin") { response.headers += cors.headers(origin: origin, method: request.method) }
        return response
    }

    /// What a client hears that speaks less than the domain asks for.
    private func refusal(of tls: LocalRequest.TLS?) -> LocalResponse? {
        guard let tls else { return nil }
        let minimum = domain.minimumTLS.flatMap { $0.split(separator: ".").last }.flatMap { Int($0) } ?? 0
        // TLS 1.3 has suites of its own, all of them good (RFC 8446 §B.4).
        let hasCipher = domain.ciphers.isEmpty || tls.minorVersion >= 3 || domain.ciphers.contains(tls.cipher)
        guard tls.minorVersion < minimum || !hasCipher else { return nil }
        return Self.page(403, "Forbidden", "This host asks for a newer version of TLS, or for another cipher suite.")
    }

    private func preflight(_ request: LocalRequest, _ cors: CrossOrigin) -> LocalResponse {
        do throws(S3Error) {
            return try cors.preflight(S3Request(method: request.method, target: request.target, headers: request.headers))
        } catch {
            return Self.page(error.status, "Forbidden", "The bucket's CORS rules don't allow this request.")
        }
    }

    // MARK: Reading

    private func read(_ request: LocalRequest) async -> LocalResponse {
        guard request.method == "GET" || request.method == "HEAD" else {
            var response = Self.page(405, "Method not allowed", "Objects can only be read here.")
            response.headers.append(("allow", "GET, HEAD, OPTIONS"))
            return response
        }
        guard let key = Self.key(request.path) else { return Self.missing }
        do throws(R2Failure) {
            return try await request.method == "HEAD" ? head(key, request) : get(key, request)
        } catch {
            return await failure(error, key)
        }
    }

    private func head(_ key: String, _ request: LocalRequest) async throws(R2Failure) -> LocalResponse {
        guard let object = try await store.head(key, in: domain.bucket) else { return Self.missing }
        guard object.ssecKeyMd5 == nil else { throw .encryption(.keyMissing) }
        let conditions = Conditions(request)
        if conditions.all?.passes(etag: object.etag, uploaded: object.uploaded) == false { return conditions.answer(object) }
        return LocalResponse(status: 200, headers: EntityHeaders.of(object), bodyByteCount: Int(object.size))
    }

    private func get(_ key: String, _ request: LocalRequest) async throws(R2Failure) -> LocalResponse {
        let conditions = Conditions(request)
        var range = request.header("range").flatMap { R2Range(asking: $0) }
        if range != nil, let validator = request.header("if-range") {
            // Of another object than the client has a part of, it wants the whole (RFC 9110 §13.1.5).
            guard let object = try await store.head(key, in: domain.bucket) else { return Self.missing }
            if !Self.isSame(object, validator) { range = nil }
        }
        let message = R2GetMessage(key: key, onlyIf: conditions.all, range: range)
        switch try await store.get(message, in: domain.bucket) {
        case .missing: return Self.missing
        case .withoutBody(let object): return conditions.answer(object)
        case .withBody(let object, let body, let byteCount):
            if object.range != nil, let validator = request.header("if-range"), !Self.isSame(object, validator) {
                // It was replaced in between.
                if case .stream(let source) = body { source.cancel() }
                var whole = request
                whole.headers.removeAll { $0.name == "range" }
                return try await get(key, whole)
            }
            return LocalResponse(
                status: object.range == nil ? 200 : 206, headers: EntityHeaders.of(object), body: body,
                bodyByteCount: Int(byteCount))
        }
    }

    private static func isSame(_ object: R2Object, _ validator: String) -> Bool {
        if validator.hasPrefix("\"") { return validator == object.httpEtag }
        return validator == EntityHeaders.lastModified(object)
    }

    /// The conditions of a request, and which of them decides what the client is told.
    private struct Conditions {
        let all: R2Conditional?
        private let required: R2Conditional?

        init(_ request: LocalRequest) {
            required = Self.read(request, ["if-match", "if-unmodified-since"])
            all = Self.read(request, ["if-match", "if-unmodified-since", "if-none-match", "if-modified-since"])
        }

        private static func read(_ request: LocalRequest, _ names: [String]) -> R2Conditional? {
            var headers = Headers()
            for name in names {
                guard var value = request.header(name) else { continue }
                if name == "if-unmodified-since", let date = HTTPDate(value) {
                    // The store asks for an object that is older; one of that very second is what the client has.
                    value = HTTPDate(unixSeconds: date.unixSeconds + 1).text
                }
                var single = Headers()
                // What is no list of tags, or no date, is as if it weren't there.
                guard (try? single.set(name, value)) != nil, (try? R2Conditional(single)) != nil else { continue }
                try? headers.set(name, value)
            }
            return try? R2Conditional(headers)
        }

        /// Of an object for which they don't all hold (RFC 9110 §13.2.2).
        func answer(_ object: R2Object) -> LocalResponse {
            guard required?.passes(etag: object.etag, uploaded: object.uploaded) ?? true else {
                return page(412, "Precondition failed", "The object isn't the one that the request asks for.")
            }
            let kept = ["etag", "last-modified", "cache-control", "expires"]
            return LocalResponse(status: 304, headers: EntityHeaders.of(object).filter { kept.contains($0.name) })
        }
    }

    private func failure(_ failure: R2Failure, _ key: String) async -> LocalResponse {
        switch failure {
        case .noSuchBucket, .invalidObjectName: return Self.missing
        case .invalidRange:
            var response = Self.page(416, "Range not satisfiable", "The object has no bytes there.")
            if let object = try? await store.head(key, in: domain.bucket) {
                response.headers.append(("content-range", "bytes */\(object.size)"))
            }
            return response
        case .encryption:
            return Self.page(403, "Forbidden", "The object is encrypted with a key of its owner.")
        case .unavailable:
            var response = Self.page(503, "Overloaded", "The store is overloaded. Please try again.")
            response.headers.append(("retry-after", "1"))
            return response
        default:
            logger.log(.error, "a public object can't be read: \(failure.message)", [("bucket", domain.bucket)])
            return Self.page(500, "Internal error", "The object can't be read. Please try again.")
        }
    }

    /// - Parameter path: percent-encoded.
    private static func key(_ path: String) -> String? {
        let bytes = CanonicalRequest.decode(path.utf8.dropFirst(), plus: UInt8(ascii: "+"))
        // The root would be a list.
        return bytes.isEmpty ? nil : String(validating: bytes, as: UTF8.self)
    }

    // MARK: Pages

    private static var missing: LocalResponse {
        page(404, "Object not found", "This object does not exist, or nobody may read it at this address.")
    }

    private static func page(_ status: Int, _ title: String, _ text: String) -> LocalResponse {
        let html = """
            <!doctype html><html lang="en"><head><meta charset="utf-8"><title>\(title)</title>
            <style>body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:12vh auto;padding:0 1.5rem;color:#222}
            h1{font-size:1.6rem}</style></head><body><h1>\(title)</h1><p>\(text)</p></body></html>

            """
        return LocalResponse(
            status: status, headers: [("content-type", "text/html; charset=utf-8")], body: .bytes(Array(html.utf8)))
    }
}

/// What headers say of an object to whom it is sent.
package enum EntityHeaders {
    package static func of(_ object: R2Object) -> [(name: String, value: String)] {
        var headers = Headers()
        // What a worker stored that no header can carry is left out.
        try? object.writeHttpMetadata(&headers)
        if headers.get("content-type") == nil { try? headers.set("content-type", "application/octet-stream") }
        var fields: [(name: String, value: String)] = []
        headers.forEachOnWire { fields.append(($0, $1)) }
        if let range = object.range {
            fields.append(("content-range", "bytes \(range.offset)-\(range.offset + range.length - 1)/\(object.size)"))
        }
        return fields + [("etag", object.httpEtag), ("accept-ranges", "bytes"), ("last-modified", lastModified(object))]
    }

    package static func lastModified(_ object: R2Object) -> String { HTTPDate(unixSeconds: object.uploaded / 1000).text }
}
