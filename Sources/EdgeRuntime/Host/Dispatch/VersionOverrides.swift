/// `Cloudflare-Workers-Version-Overrides`: a dictionary of structured fields (RFC 8941 §3.2) whose members are strings, the
/// names of workers with the ids of versions. What is malformed says nothing, and so does a member that isn't a string.
enum VersionOverrides {
    /// More are in no deployment.
    private static let membersMax = 64

    static func parse(_ text: String) -> [(worker: String, version: String)] {
        var rest = Array(text.utf8)[...]
        var members: [(worker: String, version: String)] = []
        skipSpace(&rest)
        while !rest.isEmpty, members.count < membersMax {
            guard let name = takeName(&rest), rest.popFirst() == UInt8(ascii: "="), let value = takeString(&rest) else {
                return []
            }
            members.removeAll { $0.worker == name }
            members.append((name, value.lowercased()))
            guard skipParameters(&rest) else { return [] }
            skipSpace(&rest)
            if rest.isEmpty { return members }
            guard rest.popFirst() == UInt8(ascii: ",") else { return [] }
            skipSpace(&rest)
            // A comma at the end is one too many.
            guard !rest.isEmpty else { return [] }
        }
        return members
    }

    private static func skipSpace(_ rest: inout ArraySlice<UInt8>) {
        while let byte = rest.first, byte == 0x20 || byte == 0x09 { rest.removeFirst() }
    }

    /// Parameters of a member say nothing here.
    private static func skipParameters(_ rest: inout ArraySlice<UInt8>) -> Bool {
        while rest.first == UInt8(ascii: ";") {
            rest.removeFirst()
            skipSpace(&rest)
            guard takeName(&rest) != nil else { return false }
            guard rest.first == UInt8(ascii: "=") else { continue }
            rest.removeFirst()
            guard rest.first == UInt8(ascii: "\"") ? takeString(&rest) != nil : takeName(&rest) != nil else { return false }
        }
        return true
    }

    /// Names of workers have digits in front and capital letters, which keys of the RFC don't: they are taken all the same.
    private static func takeName(_ rest: inout ArraySlice<UInt8>) -> String? {
        let name = rest.prefix { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
                UInt8(ascii: "*"):
                true
            default: false
            }
        }
        rest = rest.dropFirst(name.count)
        return name.isEmpty ? nil : String(decoding: name, as: UTF8.self)
    }

    private static func takeString(_ rest: inout ArraySlice<UInt8>) -> String? {
        guard rest.popFirst() == UInt8(ascii: "\"") else { return nil }
        var value: [UInt8] = []
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "\""): return String(decoding: value, as: UTF8.self)
            case UInt8(ascii: "\\"):
                guard let escaped = rest.popFirst(), escaped == UInt8(ascii: "\"") || escaped == UInt8(ascii: "\\") else {
                    return nil
                }
                value.append(escaped)
            case 0x20...0x7E: value.append(byte)
            default: return nil
            }
        }
        return nil
    }
}
