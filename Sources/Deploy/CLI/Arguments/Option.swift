/// An option that a command takes, as `--help` shows it.
struct Option: Sendable {
    enum Kind: Sendable {
        case flag
        /// With the word that stands for its value in `--help`.
        case value(String)
        /// May be given several times.
        case values(String)
    }
    let name: String
    let kind: Kind
    let help: String
    /// One letter, as in `-y`.
    var short: String?
    /// Further names, which people know from elsewhere; not shown.
    var aliases: [String] = []
    var completion = Completion.nothing

    static func flag(_ name: String, _ help: String, short: String? = nil, aliases: [String] = []) -> Option {
        Option(name: name, kind: .flag, help: help, short: short, aliases: aliases)
    }
    static func value(
        _ name: String, _ value: String, _ help: String, short: String? = nil, aliases: [String] = [],
        _ completion: Completion = .nothing
    ) -> Option {
        Option(name: name, kind: .value(value), help: help, short: short, aliases: aliases, completion: completion)
    }
    static func values(
        _ name: String, _ value: String, _ help: String, short: String? = nil, aliases: [String] = [],
        _ completion: Completion = .nothing
    ) -> Option {
        Option(name: name, kind: .values(value), help: help, short: short, aliases: aliases, completion: completion)
    }

    /// Whether it is given as `word`, dashes included.
    func isCalled(_ word: Substring) -> Bool {
        if word.hasPrefix("--") { return name == word.dropFirst(2) || aliases.contains { $0 == word.dropFirst(2) } }
        return short.map { word == "-\($0)" } ?? false
    }

    var usage: String {
        let called = (short.map { "-\($0), " } ?? "") + "--\(name)"
        switch kind {
        case .flag: return called
        case .value(let value), .values(let value): return "\(called) \(value)"
        }
    }
}
