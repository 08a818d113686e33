package import System

/// A database as the catalog has it.
package struct D1DatabaseEntry: Sendable, Equatable {
    /// A UUID in small letters.
    package let id: String
    package let name: String
    package let createdAt: UnixTime
    package let readReplication: D1ReadReplication
    package let jurisdiction: String?
    /// The name under which the store has it.
    package let resource: String
}

package enum D1ReadReplication: String, Sendable, CaseIterable { case auto, disabled }

/// What only the database itself knows of itself.
package struct D1DatabaseFacts: Sendable, Equatable {
    package let tableCount: Int
    package let byteCount: Int64
}

/// Why the catalog refuses, with the code that REST gives it (spec: d1, section 11).
package enum D1CatalogError: Error, Sendable, Equatable, CustomStringConvertible {
    case notFound(String)
    case nameTaken(String)
    case invalid(String, String)
    case tooMany(Int)
    case failed(D1Failure)

    package var code: Int {
        switch self {
        case .notFound: 7404
        case .nameTaken: 7502
        case .invalid: 7400
        case .tooMany: 7406
        case .failed: 7500
        }
    }

    package var description: String {
        switch self {
        case .notFound(let database): "The database \(D1Failure.shortened(database)) could not be found"
        case .nameTaken(let name): "Database with name '\(D1Failure.shortened(name))' already exists"
        case .invalid(let property, let reason): "Invalid property: \(property): \(reason)"
        case .tooMany(let count): "System limit reached: databases per account (\(count))"
        case .failed(let failure): failure.text
        }
    }
}
