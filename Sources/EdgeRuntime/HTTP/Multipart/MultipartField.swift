/// What the header lines of a part say of it (RFC 7578 §4).
package struct MultipartField: Equatable, Sendable {
    /// Empty when the part has none.
    package let name: String
    /// Present when the field is a file. Never a path: only what follows the last `/` or `\`.
    package let filename: String?
    package let contentType: String?

    package init(_ lines: [MultipartParser.HeaderLine]) {
        let disposition = lines.first { $0.name == "content-disposition" }?.value ?? ""
        let parameters = HeaderParameters.parse(disposition).parameters
        name = parameters.first { $0.name == "name" }?.value ?? ""
        filename = parameters.first { $0.name == "filename" }.map { parameter in
            String(parameter.value.split(whereSeparator: { $0 == "/" || $0 == "\\" }).last ?? "")
        }
        contentType = lines.first { $0.name == "content-type" }?.value
    }
}
