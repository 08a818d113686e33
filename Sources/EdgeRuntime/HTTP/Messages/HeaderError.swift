/// A header that can't be sent.
public enum HeaderError: Error, Equatable, Sendable, CustomStringConvertible {
    case invalidName(String)
    /// The value isn't told: it may be a secret.
    case invalidValue(name: String)
    /// A name above 64 KiB or a value above 1 MiB.
    case tooLong(name: String)

    public var description: String {
        switch self {
        case .invalidName(let name): "header name \"\(name.printable)\" is not a token"
        case .invalidValue(let name): "the value of header \"\(name.printable)\" contains a control character"
        case .tooLong(let name): "header \"\(name.prefix(64).printable)\" is too long"
        }
    }
}

extension StringProtocol {
    fileprivate var printable: String {
        String(
            String.UnicodeScalarView(unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? "?" : $0 }))
    }
}
