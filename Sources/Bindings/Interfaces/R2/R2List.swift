/// One page of a list.
public struct R2Objects: Equatable, Sendable {
    public var objects: [R2Object]
    /// What keys were folded into: everything up to and including the delimiter, each once.
    public var delimitedPrefixes: [String]
    /// Where the next page begins; `nil` at the end.
    public var cursor: String?

    public var truncated: Bool { cursor != nil }

    package init(objects: [R2Object] = [], delimitedPrefixes: [String] = [], cursor: String? = nil) {
        self.objects = objects
        self.delimitedPrefixes = delimitedPrefixes
        self.cursor = cursor
    }
}

/// What a list tells of each object besides its name and sizes.
public struct R2ListInclude: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let httpMetadata = R2ListInclude(rawValue: 1)
    public static let customMetadata = R2ListInclude(rawValue: 2)
}
