internal import FoundationEssentials
internal import OpenSSL
internal import System

/// Who may deploy to an environment, beside having a token: a bundle counts when one of these keys has signed its hash
/// (Ed25519, RFC 8032). The keys come from the node's own files, never from a bundle.
package struct DeployKeys: Sendable {
    private let keys: [AsymmetricKey]

    /// Anybody may.
    package static let none = DeployKeys(keys: [])

    private init(keys: [AsymmetricKey]) { self.keys = keys }

    /// - Parameter paths: PEM files with public keys, as `openssl pkey -in KEY -pubout` writes them.
    package init(files paths: [String]) throws(DeploymentFailure) {
        var keys: [AsymmetricKey] = []
        for path in paths { keys.append(try Self.read(path, .publicKey)) }
        self.init(keys: keys)
    }

    /// - Parameter signature: base64; empty when there is none.
    /// - Throws: when one is needed, and this is none.
    package func check(_ signature: String, of bundle: String) throws(DeploymentFailure) {
        guard !keys.isEmpty else { return }
        guard !signature.isEmpty else {
            throw DeploymentFailure(
                "this environment takes signed bundles alone (deploy_keys): deploy with --sign-key FILE")
        }
        let message = BundleSignature.message(bundle)
        let bytes = Data(base64Encoded: signature).map(Array.init) ?? []
        let isValid = keys.contains { key in (try? key.isValid(bytes, for: message, .ed25519)) ?? false }
        guard isValid else {
            throw DeploymentFailure("the bundle \(bundle.prefix(12)) is signed by none of the keys of deploy_keys")
        }
    }

    static func read(_ path: String, _ part: AsymmetricKey.Part) throws(DeploymentFailure) -> AsymmetricKey {
        let what = part == .pair ? "private" : "public"
        let hint = part == .pair ? "openssl genpkey -algorithm ed25519 -out KEY" : "openssl pkey -in KEY -pubout"
        let key: AsymmetricKey
        do {
            key = try AsymmetricKey(pem: String(decoding: try FileTree.read(path), as: UTF8.self), part)
        } catch { throw DeploymentFailure("\(path) has no \(what) key (\(error)): \(hint) writes one") }
        guard case .ed25519 = key.kind else { throw DeploymentFailure("\(path) has a key of another kind: \(hint) writes one") }
        return key
    }
}

package enum BundleSignature {
    /// What is signed: never the bytes of anything else.
    static func message(_ bundle: String) -> [UInt8] { Array("edge bundle \(bundle)\n".utf8) }

    /// - Parameters:
    ///   - bundle: The bundle's hash, which covers its files and its executables.
    ///   - path: A PEM file with an Ed25519 key.
    /// - Returns: the signature in base64.
    package static func sign(_ bundle: String, keyFile path: String) throws(DeploymentFailure) -> String {
        let key = try DeployKeys.read(path, .pair)
        do { return Data(try key.sign(message(bundle), .ed25519)).base64EncodedString() } catch {
            throw DeploymentFailure("\(path) can't sign: \(error)")
        }
    }
}
