internal import Glibc

/// Where this program lies.
enum OwnExecutable {
    static var path: String {
        var buffer = [UInt8](repeating: 0, count: 4096)
        // SAFETY: readlink fills at most the array it is lent.
        let count = unsafe buffer.withUnsafeMutableBytes { bytes -> Int in
            guard let base = unsafe bytes.bindMemory(to: CChar.self).baseAddress else { return 0 }
            return unsafe readlink("/proc/self/exe", base, bytes.count)
        }
        return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : CommandLine.arguments[0]
    }

    static var directory: String { path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "." }
}
