/// Gathers the findings of one run. Owned by the function that runs; it never leaves it.
final class DiagnosticCollector {
    /// A reader of the list mends some and runs again; more would only scroll the first ones away.
    static let shownMax = 50

    private var found: [Diagnostic] = []
    private var seen: Set<Place> = []
    /// Turns an unknown key from an error into a warning.
    let unknownKeySeverity: Diagnostic.Severity

    private struct Place: Hashable {
        let location: SourcePlace?
        let code: Diagnostic.Code
        /// `nil` where a place has one finding of a code, whichever way led to it: a default holds for all workers.
        let path: String?
    }

    init(unknownKeySeverity: Diagnostic.Severity = .error) { self.unknownKeySeverity = unknownKeySeverity }

    /// The same finding about the same place is kept once: a file may be read for several environments.
    func add(_ diagnostic: Diagnostic) {
        let isAboutValue: Bool
        switch diagnostic.code {
        case .wrongType, .outOfRange, .invalidValue, .unknownKey, .notAllowedHere, .route: isAboutValue = true
        default: isAboutValue = false
        }
        let place = Place(
            location: diagnostic.location, code: diagnostic.code, path: isAboutValue ? nil : diagnostic.path)
        guard seen.insert(place).inserted else { return }
        found.append(diagnostic)
    }

    func error(
        _ code: Diagnostic.Code, at location: SourcePlace?, path: String, _ message: String,
        fix: String? = nil, related: [Diagnostic.Related] = []
    ) {
        add(Diagnostic(.error, code, at: location, path: path, message, fix: fix, related: related))
    }

    func warning(
        _ code: Diagnostic.Code, at location: SourcePlace?, path: String, _ message: String,
        fix: String? = nil, related: [Diagnostic.Related] = []
    ) {
        add(Diagnostic(.warning, code, at: location, path: path, message, fix: fix, related: related))
    }

    var hasErrors: Bool { found.hasErrors }

    /// At most `shownMax`, by file and position. An error is never left out for a warning.
    var sorted: [Diagnostic] {
        var kept = found
        if kept.count > Self.shownMax {
            kept = Array(
                (kept.filter { $0.severity == .error } + kept.filter { $0.severity == .warning })
                    .prefix(Self.shownMax))
        }
        return kept.enumerated().sorted { left, right in
            switch (left.element.location, right.element.location) {
            case (let a?, let b?) where a != b: a < b
            case (nil, .some): true
            case (.some, nil): false
            default: left.offset < right.offset
            }
        }.map(\.element)
    }
}
