/// A request as its signature sees it: path and query exactly as they were sent.
package struct S3Request: Sendable {
    package let method: String
    /// The target up to its first `?`, percent-encoded as sent.
    package let path: String
    /// What stands behind that `?`; empty when there is none.
    package let query: String
    /// Names in lower case, in the order sent.
    package let headers: [(name: String, value: String)]
    /// The parameters of the query in their order, decoded. A name without `=` has an empty value.
    package let parameters: [(name: String, value: String)]

    package init(method: String, target: String, headers: [(name: String, value: String)]) {
        self.method = method
        let mark = target.utf8.firstIndex(of: UInt8(ascii: "?"))
        path = String(target[..<(mark ?? target.endIndex)])
        query = mark.map { String(target[target.index(after: $0)...]) } ?? ""
        self.headers = headers
        // By bytes, here and where requests are brought into their canonical form: every request passes there.
        parameters = Array(query.utf8).split(separator: UInt8(ascii: "&")).map { pair in
            let mark = pair.firstIndex(of: UInt8(ascii: "=")) ?? pair.endIndex
            return (Self.decode(pair[..<mark]), mark < pair.endIndex ? Self.decode(pair[(mark + 1)...]) : "")
        }
    }

    package func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }

    package func parameter(_ name: String) -> String? { parameters.first { $0.name == name }?.value }

    private static func decode(_ text: ArraySlice<UInt8>) -> String {
        // What has no escapes is what it says.
        if !text.contains(where: { $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: "+") }) {
            return String(decoding: text, as: UTF8.self)
        }
        return String(decoding: CanonicalRequest.decode(text, plus: 0x20), as: UTF8.self)
    }
}
