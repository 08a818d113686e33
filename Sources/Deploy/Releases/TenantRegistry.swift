internal import Synchronization
package import System

/// Which tenants a state directory has had, in the order they came. A tenant's place decides the uid of its isolates, so it is
/// kept for ever: a number that was given to another tenant would open the first one's files to it.
package final class TenantRegistry: Sendable {
    private let path: String
    private let names: Mutex<[String]>

    package init(state: StateDirectory) throws(SystemError) {
        path = state.path + "/tenants"
        let text = try FileTree.readTextIfPresent(path) ?? ""
        names = Mutex(text.split(separator: "\n").map(String.init))
    }

    /// The number of `tenant`, new ones behind the last. Durable when it returns.
    package func ordinal(of tenant: String) throws(SystemError) -> UInt32 {
        let path = path
        let result: Result<UInt32, SystemError> = names.withLock { names in
            if let index = names.firstIndex(of: tenant) { return .success(UInt32(index)) }
            do throws(SystemError) {
                let grown = names + [tenant]
                try FileTree.replaceFile(path, with: Array((grown.joined(separator: "\n") + "\n").utf8), mode: 0o600)
                names = grown
                return .success(UInt32(grown.count - 1))
            } catch { return .failure(error) }
        }
        return try result.get()
    }
}
