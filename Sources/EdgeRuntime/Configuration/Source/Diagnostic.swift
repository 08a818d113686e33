/// One finding about a configuration: what is wrong, where, and what to do.
package struct Diagnostic: Sendable, Equatable {
    package enum Severity: String, Sendable { case error, warning }

    /// What kind of mistake it is; stable, for scripts that read the JSON form.
    package enum Code: String, Sendable {
        case unreadableFile = "unreadable-file"
        case syntax
        case unknownKey = "unknown-key"
        case missingKey = "missing-key"
        case wrongType = "wrong-type"
        case outOfRange = "out-of-range"
        case invalidValue = "invalid-value"
        case notAllowedHere = "not-allowed-here"
        case unknownName = "unknown-name"
        case duplicateName = "duplicate-name"
        case route
        case routeConflict = "route-conflict"
        case serviceCycle = "service-cycle"
        case secretInVariables = "secret-in-variables"
        case missingSecret = "missing-secret"
        case migration
        case memory
        case ignored
        case unsupported
        case notInherited = "not-inherited"
        case environment
    }

    /// Another place that has to do with it, such as the first of two equal names.
    package struct Related: Sendable, Equatable {
        package let location: SourcePlace
        package let message: String
        package init(_ location: SourcePlace, _ message: String) {
            self.location = location
            self.message = message
        }
    }

    package let severity: Severity
    package let code: Code
    /// `nil` when the finding is about no place in a file.
    package let location: SourcePlace?
    /// The key path, such as `workers.auth-service.isolates.max`; empty for a syntax error.
    package let path: String
    package let message: String
    /// What to write instead, or to do.
    package let fix: String?
    package let related: [Related]

    package init(
        _ severity: Severity, _ code: Code, at location: SourcePlace?, path: String = "", _ message: String,
        fix: String? = nil, related: [Related] = []
    ) {
        self.severity = severity
        self.code = code
        self.location = location
        self.path = path
        self.message = message
        self.fix = fix
        self.related = related
    }
}

/// A text that its reader can't make a document of.
package struct SyntaxError: Error, Sendable {
    package let location: SourcePlace
    package let message: String
    package let fix: String?

    package init(at location: SourcePlace, _ message: String, fix: String? = nil) {
        self.location = location
        self.message = message
        self.fix = fix
    }

    package var diagnostic: Diagnostic { Diagnostic(.error, .syntax, at: location, message, fix: fix) }
}
