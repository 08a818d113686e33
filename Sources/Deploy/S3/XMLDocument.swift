/// A document on its way out, written from its beginning to its end.
struct XMLDocument {
    private(set) var text: String

    /// - Parameter root: The name of the root, which gets S3's namespace.
    init(_ root: String, _ content: (inout XMLDocument) -> Void) {
        text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><\(root) xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
        content(&self)
        text += "</\(root)>"
    }

    mutating func element(_ name: String, _ content: (inout XMLDocument) -> Void) {
        text += "<\(name)>"
        content(&self)
        text += "</\(name)>"
    }

    mutating func element(_ name: String, _ value: String) {
        text += "<\(name)>\(S3Error.escape(value))</\(name)>"
    }

    mutating func text(_ value: String) { text += S3Error.escape(value) }

    /// Markup that is right as it stands.
    mutating func raw(_ markup: String) { text += markup }

    mutating func element(_ name: String, _ value: some BinaryInteger) { element(name, String(value)) }
    mutating func element(_ name: String, _ value: Bool) { element(name, value ? "true" : "false") }
}
