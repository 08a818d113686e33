/// Finds parameters in header values such as `form-data; name="a"`.
package enum HeaderParameters {
    /// The value before the first `;`, in lower case, and the parameters, names in lower case.
    package static func parse(_ text: String) -> (value: String, parameters: [(name: String, value: String)]) {
        let bytes = Array(text.utf8)
        var index = 0
        func trimmed(_ range: Range<Int>) -> String {
            var range = range
            while let first = range.first, bytes[first] == 32 || bytes[first] == 9 {
                range = first + 1..<range.upperBound
            }
            while let last = range.last, bytes[last] == 32 || bytes[last] == 9 {
                range = range.lowerBound..<last
            }
            return String(decoding: bytes[range], as: UTF8.self)
        }
        func scan(until stops: [UInt8]) -> Range<Int> {
            let start = index
            while index < bytes.count, !stops.contains(bytes[index]) { index += 1 }
            return start..<index
        }
        let value = trimmed(scan(until: [UInt8(ascii: ";")])).lowercased()
        var parameters: [(name: String, value: String)] = []
        while index < bytes.count {
            index += 1
            let name = trimmed(scan(until: [UInt8(ascii: "="), UInt8(ascii: ";")])).lowercased()
            guard index < bytes.count, bytes[index] == UInt8(ascii: "=") else { continue }
            index += 1
            while index < bytes.count, bytes[index] == 32 || bytes[index] == 9 { index += 1 }
            guard index < bytes.count, bytes[index] == UInt8(ascii: "\"") else {
                parameters.append((name, trimmed(scan(until: [UInt8(ascii: ";")]))))
                continue
            }
            index += 1
            var quoted: [UInt8] = []
            while index < bytes.count, bytes[index] != UInt8(ascii: "\"") {
                // Browsers send `\` as it is in file names and escape quotes as %22; others escape with `\`.
                if bytes[index] == UInt8(ascii: "\\"), index + 1 < bytes.count,
                    bytes[index + 1] == UInt8(ascii: "\"") || bytes[index + 1] == UInt8(ascii: "\\")
                {
                    index += 1
                }
                quoted.append(bytes[index])
                index += 1
            }
            _ = scan(until: [UInt8(ascii: ";")])
            parameters.append((name, String(decoding: quoted, as: UTF8.self)))
        }
        return (value, parameters)
    }
}

package enum MultipartBoundary {
    package static func find(in contentType: String) throws(MultipartError) -> [UInt8] {
        let (type, parameters) = HeaderParameters.parse(contentType)
        guard type == "multipart/form-data" else { throw .notMultipart(contentType: contentType) }
        guard let boundary = parameters.first(where: { $0.name == "boundary" })?.value,
            (1...70).contains(boundary.utf8.count), !boundary.utf8.contains(where: { $0 < 32 || $0 == 127 })
        else { throw .badBoundary }
        return Array(boundary.utf8)
    }
}
