package import Workers

/// A worker's configuration lacks something that its code needs.
package struct ConfigurationFlaw: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

extension Env {
    /// - Throws: when there is no such secret.
    package func requiredSecret(_ name: String) throws -> String {
        guard let secret = secret(name) else {
            throw ConfigurationFlaw(
                "secret \(name) is not set; put it into .dev.vars or `edge secret put \(name)`")
        }
        return secret.reveal()
    }

    /// A whole number of the configuration.
    ///
    /// - Throws: when the variable is something else or outside `range`.
    package func integer(_ name: String, default fallback: Int, in range: ClosedRange<Int>) throws -> Int {
        guard let text = variable(name) else { return fallback }
        guard let number = Int(text), range.contains(number) else {
            throw ConfigurationFlaw(
                "variable \(name) is \"\(text)\"; a whole number from \(range.lowerBound) to "
                    + "\(range.upperBound) is expected"
            )
        }
        return number
    }
}
