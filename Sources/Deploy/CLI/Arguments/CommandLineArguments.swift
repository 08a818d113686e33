/// What stood on the command line behind a command's name, checked against its options and operands.
struct CommandLineArguments: Sendable {
    private(set) var positional: [String] = []
    private let operands: [Operand]
    private var values: [String: [String]] = [:]

    /// - Throws: `UsageError` for anything that `options` and `operands` don't know, with the nearest name that they do.
    init(_ words: [String], options: [Option], operands: [Operand]) throws(UsageError) {
        self.operands = operands
        var index = 0
        while index < words.count {
            let word = words[index]
            index += 1
            if word == "--" {
                positional += words[index...]
                break
            }
            guard word.hasPrefix("-"), word.count > 1 else {
                positional.append(word)
                continue
            }
            let called = word.hasPrefix("--") ? word.prefix { $0 != "=" } : word[...]
            let inline = called.count < word.count ? String(word.dropFirst(called.count + 1)) : nil
            guard let option = options.first(where: { $0.isCalled(called) }) else {
                let names = options.map { "--\($0.name)" }
                throw .unknownOption(
                    String(called), nearest: called.hasPrefix("--") ? Nearest.name(to: String(called), among: names) : nil)
            }
            switch option.kind {
            case .flag:
                guard inline == nil else { throw .unexpectedValue(option.usage) }
                values[option.name] = [""]
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
                if case .value = option.kind, values[option.name] != nil { throw .repeated(option.usage) }
                values[option.name, default: []].append(value)
            }
        }
        try checkOperands()
    }

    private func checkOperands() throws(UsageError) {
        let needed = operands.prefix { $0.count == .one }.count
        if positional.count < needed { throw .missingArgument(operands[positional.count].name) }
        guard !operands.contains(where: { $0.count == .any }), positional.count > operands.count else { return }
        throw .unexpectedArgument(positional[operands.count])
    }

    /// Gives an option a value that the command line leaves out.
    mutating func fill(_ name: String, _ value: String) {
        if values[name] == nil { values[name] = [value] }
    }

    func has(_ name: String) -> Bool { values[name] != nil }
    func value(_ name: String) -> String? { values[name]?.last }
    func all(_ name: String) -> [String] { values[name] ?? [] }

    /// The word in the place of the operand `name`; `nil` when it was left out.
    func operand(_ name: String) -> String? {
        guard let index = operands.firstIndex(where: { $0.name == name }), index < positional.count else { return nil }
        return positional[index]
    }

    /// The word in the place of the operand `name`, which may not be left out, also where its declaration allows it.
    func required(_ name: String) throws(UsageError) -> String {
        guard let word = operand(name) else { throw .missingArgument(name) }
        return word
    }

    /// The value of an option that may not be left out.
    func requiredValue(_ name: String, _ value: String) throws(UsageError) -> String {
        guard let given = self.value(name) else { throw .missingArgument("--\(name) \(value)") }
        return given
    }
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
    /// Something is to be destroyed, and nobody can be asked.
    case unconfirmed(String)
    /// `--https` beside certificates of the configuration.
    case certificateTwice
    /// A control listener that other machines reach, or that is to speak https, on a node without certificates.
    case controlInTheClear(String)
    case controlWithoutCertificate

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
        case .unconfirmed(let question): "\(question) Nobody can be asked here: say so with --yes"
        case .certificateTwice: "--https makes a certificate, and the environment's tls names one: leave out --https"
        case .controlInTheClear(let address):
            """
            --control \(address): other machines reach it, and tokens would cross the network in the clear: configure tls (or \
            give --https), or listen on 127.0.0.1
            """
        case .controlWithoutCertificate: "--control-https: the node has no certificate: configure tls, or give --https"
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
