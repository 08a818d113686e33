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

    static func flag(_ name: String, _ help: String) -> Option { Option(name: name, kind: .flag, help: help) }
    static func value(_ name: String, _ value: String, _ help: String) -> Option {
        Option(name: name, kind: .value(value), help: help)
    }
    static func values(_ name: String, _ value: String, _ help: String) -> Option {
        Option(name: name, kind: .values(value), help: help)
    }

    var usage: String {
        switch kind {
        case .flag: "--\(name)"
        case .value(let value), .values(let value): "--\(name) \(value)"
        }
    }
}

/// What stood on the command line behind a command's name, checked against its options.
struct CommandLineArguments: Sendable {
    private(set) var positional: [String] = []
    private var values: [String: [String]] = [:]

    /// - Throws: `UsageError` for anything that `options` don't know, with the nearest name that they do.
    init(_ words: [String], options: [Option]) throws(UsageError) {
        var index = 0
        while index < words.count {
            var word = words[index]
            index += 1
            if word == "--" {
                positional += words[index...]
                break
            }
            if word == "-c", options.contains(where: { $0.name == "config" }) { word = "--config" }
            guard word.hasPrefix("--"), word.count > 2 else {
                guard !word.hasPrefix("-") || word == "-" else { throw .unknownOption(word, nearest: nil) }
                positional.append(word)
                continue
            }
            let body = word.dropFirst(2)
            let name = String(body.prefix { $0 != "=" })
            let inline = body.contains("=") ? String(body.dropFirst(name.count + 1)) : nil
            guard let option = options.first(where: { $0.name == name }) else {
                throw .unknownOption("--\(name)", nearest: Nearest.name(to: name, among: options.map(\.name)).map { "--\($0)" })
            }
            switch option.kind {
            case .flag:
                guard inline == nil else { throw .unexpectedValue(option.usage) }
                values[name] = [""]
            case .value, .values:
                let value: String
                if let inline {
                    value = inline
                } else if index < words.count {
                    value = words[index]
                    index += 1
                } else {
                    throw .missingValue(option.usage)
                }
                if case .value = option.kind, values[name] != nil { throw .repeated(option.usage) }
                values[name, default: []].append(value)
            }
        }
    }

    func has(_ name: String) -> Bool { values[name] != nil }
    func value(_ name: String) -> String? { values[name]?.last }
    func all(_ name: String) -> [String] { values[name] ?? [] }
}

/// A command line that can't be understood. Exit code 64, as sysexits(3) has it.
enum UsageError: Error, CustomStringConvertible {
    case unknownOption(String, nearest: String?)
    case missingValue(String)
    case unexpectedValue(String)
    case repeated(String)
    case invalidValue(option: String, value: String, expected: String)
    case unknownCommand(String, nearest: String?)
    case unexpectedArgument(String)
    case missingArgument(String)
    case wranglerFile(String)
    /// `--https` beside certificates of the configuration.
    case certificateTwice

    static func unknownSubcommand(_ word: String, of command: String, among known: [String]) -> UsageError {
        .unknownCommand(
            "\(command) \(word)", nearest: Nearest.name(to: word, among: known).map { "\(command) \($0)" })
    }

    var description: String {
        switch self {
        case .unknownOption(let name, let nearest):
            "unknown option \(name)" + (nearest.map { "; did you mean \($0)?" } ?? "")
        case .missingValue(let usage): "\(usage): the value is missing"
        case .unexpectedValue(let usage): "\(usage) takes no value"
        case .repeated(let usage): "\(usage) is given more than once"
        case .invalidValue(let option, let value, let expected): "\(option) \(value): expected \(expected)"
        case .unknownCommand(let name, let nearest):
            "unknown command \"\(name)\"" + (nearest.map { "; did you mean \"\($0)\"?" } ?? "")
        case .unexpectedArgument(let word): "unexpected argument \"\(word)\""
        case .missingArgument(let what): "\(what) is missing"
        case .certificateTwice: "--https makes a certificate, and the environment's tls names one: leave out --https"
        case .wranglerFile(let path):
            "\(path) is one worker in wrangler's format: make it a platform with `edge config import --write`"
        }
    }
}

/// Finds what somebody may have meant.
enum Nearest {
    /// The only candidate that begins like that, else the one with the smallest edit distance, if that is at most two.
    static func name(to text: String, among candidates: [String]) -> String? {
        let continued = candidates.filter { $0.hasPrefix(text) }
        if text.count > 1, continued.count == 1 { return continued[0] }
        let ranked = candidates.map { ($0, distance(Array(text), Array($0))) }.min { $0.1 < $1.1 }
        guard let ranked, ranked.1 <= 2 else { return nil }
        return ranked.0
    }

    private static func distance(_ left: [Character], _ right: [Character]) -> Int {
        var row = Array(0...right.count)
        for (i, character) in left.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for j in right.indices {
                let substitution = diagonal + (right[j] == character ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(substitution, diagonal + 1, row[j] + 1)
            }
        }
        return row[right.count]
    }
}
