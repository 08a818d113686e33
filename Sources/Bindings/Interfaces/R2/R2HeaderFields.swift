/// What R2 needs of a set of header fields: `onlyIf` and `range` can be read from them, and an object's HTTP
/// metadata written to them. `Headers` of Workers is one.
public protocol R2HeaderFields {
    /// The value of the field, its several lines joined with `, `; names compare without case.
    func r2Value(of name: String) -> String?
    /// Replaces all lines of the field by one.
    mutating func r2Set(_ name: String, to value: String)
}
