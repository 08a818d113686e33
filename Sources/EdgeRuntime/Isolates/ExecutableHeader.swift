/// What has to be known of an ELF file before it is run: that this machine can, and which loader it asks
/// for. Layout: elf(5).
struct ExecutableHeader: Equatable {
    /// The dynamic loader's path; `nil` for a file that needs none.
    let interpreter: String?

    /// How many bytes at the start of the file `init` wants to see (fewer when the file is shorter).
    static let prefixByteCount = 16 * 1024

    enum Problem: Error, Equatable {
        case notELF, not64Bit, otherMachine, notRunnable, damaged
        case foreignInterpreter(String)

        var reason: String {
            switch self {
            case .notELF: "it is no ELF file"
            case .not64Bit: "it is not for 64-bit little-endian machines"
            case .otherMachine: "it was built for another processor"
            case .notRunnable: "it is neither an executable nor a position-independent one"
            case .damaged: "its program headers are damaged"
            case .foreignInterpreter(let path): "it asks for the loader \(path), which is no system one"
            }
        }
    }

    init(_ bytes: [UInt8]) throws(Problem) {
        guard bytes.count >= 64, bytes[0...3] == [0x7f, 0x45, 0x4c, 0x46] else { throw .notELF }
        guard bytes[4] == 2, bytes[5] == 1 else { throw .not64Bit }
        guard [2, 3].contains(Self.integer(bytes, 16, 2)) else { throw .notRunnable }
        guard Self.integer(bytes, 18, 2) == Self.machine else { throw .otherMachine }
        let table = Self.integer(bytes, 32, 8)
        let entryByteCount = Self.integer(bytes, 54, 2)
        let entryCount = Self.integer(bytes, 56, 2)
        guard entryByteCount >= 56, table <= UInt64(bytes.count),
            table + entryByteCount * entryCount <= UInt64(bytes.count)
        else { throw .damaged }
        for index in 0..<entryCount {
            let entry = Int(table + index * entryByteCount)
            guard Self.integer(bytes, entry, 4) == 3 else { continue }  // PT_INTERP
            interpreter = try Self.path(
                bytes, at: Self.integer(bytes, entry + 8, 8), byteCount: Self.integer(bytes, entry + 32, 8))
            return
        }
        interpreter = nil
    }

    private static func path(_ bytes: [UInt8], at offset: UInt64, byteCount: UInt64) throws(Problem) -> String {
        guard byteCount > 1, byteCount <= 256, offset <= UInt64(bytes.count),
            offset + byteCount <= UInt64(bytes.count)
        else { throw .damaged }
        let characters = bytes[Int(offset)..<Int(offset + byteCount - 1)]
        guard bytes[Int(offset + byteCount - 1)] == 0, !characters.contains(0),
            let path = String(validating: characters, as: UTF8.self)
        else { throw .damaged }
        let isSystem = ["/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/"].contains { path.hasPrefix($0) }
        guard isSystem, !path.contains("/../") else { throw .foreignInterpreter(path) }
        return path
    }

    private static func integer(_ bytes: [UInt8], _ offset: Int, _ byteCount: Int) -> UInt64 {
        (0..<byteCount).reversed().reduce(0) { $0 << 8 | UInt64(bytes[offset + $1]) }
    }

    /// EM_X86_64, EM_AARCH64.
    #if arch(x86_64)
        private static let machine: UInt64 = 62
    #else
        private static let machine: UInt64 = 183
    #endif
}
