internal import Glibc
package import System

/// The token of whoever runs the node: it may do everything, and its text lies in the state directory, readable by the node's
/// own user alone. Whoever can read that could read the stores themselves.
package enum OperatorToken {
    package static func path(in stateDirectory: String) -> String { stateDirectory + "/operator-token" }

    private static let name = "operator"

    /// Makes the token, unless the file has one that is valid; blocks. Deleting the file and starting the node again makes
    /// another and revokes this one.
    package static func establish(in stateDirectory: String, _ tokens: TokenStore, at time: UnixTime) throws {
        let file = path(in: stateDirectory)
        let text = try FileTree.readTextIfPresent(file).map { $0.split(separator: "\n").first.map(String.init) ?? "" }
        if let text, let token = tokens.find(.token(text), at: time) {
            return tokens.sealIfNeeded(token, text, at: time)
        }
        for token in tokens.list() where token.name == name && token.isActive(at: time) && isOurs(token) {
            _ = try tokens.revoke(token.id, at: time)
        }
        let made = try tokens.create(
            name: name, grants: [Principal.Grant(tenant: nil, product: nil, level: .edit)], at: time)
        try FileTree.replaceFile(file, with: Array((made.text + "\n").utf8), mode: 0o600)
    }

    /// The API makes none that may do everything.
    private static func isOurs(_ token: TokenStore.Token) -> Bool {
        token.grants == [Principal.Grant(tenant: nil, product: nil, level: .edit)]
    }
}
