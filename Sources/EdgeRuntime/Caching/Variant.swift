package import HTTP
package import Wire

/// What of a request a stored response depends on (RFC 9111 §4.1).
package struct Variant: Equatable, Hashable, Sendable {
    package struct Field: Equatable, Hashable, Sendable {
        /// In lower case.
        package var name: String
        /// `nil`: the request didn't have it.
        package var value: String?
    }
    package var fields: [Field]

    package init(fields: [Field] = []) { self.fields = fields }

    /// - Parameter onlyEncoding: the Cache API looks at no other field than `Accept-Encoding`.
    package init(of request: Headers, response: Headers, onlyEncoding: Bool = false) {
        let names = (Self.names(response) ?? []).filter { !onlyEncoding || $0 == "accept-encoding" }
        fields = Set(names).sorted().map { Field(name: $0, value: Self.normalized(request[$0])) }
    }

    package func matches(_ request: Headers) -> Bool {
        fields.allSatisfy { $0.value == Self.normalized(request[$0.name]) }
    }

    /// The names that `Vary` gives, in lower case; `nil` when there is none.
    static func names(_ headers: Headers) -> [String]? {
        headers["vary"].map { vary in
            vary.split(separator: ",").map { $0.filter { $0 != " " && $0 != "\t" }.lowercased() }.filter { !$0.isEmpty }
        }
    }

    /// Space around commas means nothing.
    private static func normalized(_ value: String?) -> String? {
        guard let value else { return nil }
        return value.split(separator: ",", omittingEmptySubsequences: false).map { part in
            var part = part.utf8[...]
            while part.first == 0x20 || part.first == 0x09 { part.removeFirst() }
            while part.last == 0x20 || part.last == 0x09 { part.removeLast() }
            return String(Substring(part))
        }.joined(separator: ",")
    }

    package func encode(into encoder: inout WireEncoder) {
        encoder.put(list: fields) { encoder, field in
            encoder.put(field.name)
            encoder.put(field.value)
        }
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        fields = try decoder.takeList { d throws(WireError) in
            Field(
                name: try d.takeString(), value: try d.takeOptional { d throws(WireError) in try d.takeString() })
        }
    }
}
