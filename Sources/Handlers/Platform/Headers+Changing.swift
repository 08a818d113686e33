package import Workers

/// Headers in the middle of being changed field by field.
package struct HeaderChanges {
    fileprivate var headers: Headers

    /// - Parameter name: In lower case. Setting replaces all values, `nil` removes; a value that can't
    ///   stand in a header is left out rather than sent.
    package subscript(name: String) -> String? {
        get { headers[name] }
        set {
            if let newValue { try? headers.set(name, newValue) } else { headers.delete(name) }
        }
    }

    package mutating func removeAll(withPrefix prefix: String) {
        for name in headers.map(\.name) where name.hasPrefix(prefix) { headers.delete(name) }
    }
}

extension Headers {
    /// A copy with the changes made by `change`.
    package func changing(_ change: (inout HeaderChanges) -> Void) -> Headers {
        var changes = HeaderChanges(headers: self)
        change(&changes)
        return changes.headers
    }
}
