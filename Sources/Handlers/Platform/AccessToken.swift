package import WorkersCrypto

/// The claims of an access token.
package struct AccessClaims: Codable, Equatable, Sendable {
    package static let issuer = "edge-platform"
    package static let audience = "api"

    /// The user.
    package var sub: String
    package var role: Identity.Role
    /// The session, which is the refresh tokens' family.
    package var sid: String
    package var iss: String
    package var aud: String
    /// Seconds since 1970.
    package var iat: Int64
    package var exp: Int64
    /// Makes two tokens of one second differ.
    package var jti: String

    package init(_ identity: Identity, issuedAt now: Int64, lifetimeSeconds: Int64, tokenID: String) {
        sub = identity.userID
        role = identity.role
        sid = identity.sessionID
        iss = Self.issuer
        aud = Self.audience
        iat = now / 1000
        exp = now / 1000 + lifetimeSeconds
        jti = tokenID
    }

    package var identity: Identity { Identity(userID: sub, role: role, sessionID: sid) }
}

/// Makes and checks access tokens with the platform's shared secret (HS256).
package struct AccessTokens: Sendable {
    private let signer: JWTSigner
    private let verifier: JWTVerifier

    /// - Throws: when the secret has fewer than 32 bytes.
    package init(secret: String) throws(CryptoError) {
        let key = try JWTKey(SymmetricKey(secret), .hs256)
        signer = JWTSigner(key)
        verifier = try JWTVerifier(
            [key],
            policy: .init(leewaySeconds: 5, issuer: AccessClaims.issuer, audience: AccessClaims.audience))
    }

    package func make(_ claims: AccessClaims) throws(CryptoError) -> String { try signer.sign(claims) }

    /// The identity in an `Authorization` header.
    ///
    /// - Parameter now: Milliseconds since 1970.
    /// - Throws: 401: `unauthorized` without a token, `token_expired` for one that was valid,
    ///   `invalid_token` otherwise.
    package func identity(authorization: String?, now: Int64) throws(APIError) -> Identity {
        guard let authorization else { throw .unauthorized() }
        let parts = authorization.split(separator: " ", omittingEmptySubsequences: true)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else { throw .unauthorized() }
        do throws(JWTError) {
            let claims = try verifier.verify(String(parts[1]), as: AccessClaims.self, now: Double(now) / 1000)
            guard Identifier(claims.sub) != nil, Identifier(claims.sid) != nil else {
                throw JWTError.malformed("identity")
            }
            return claims.identity
        } catch .expired {
            throw .unauthorized("the access token has expired", code: "token_expired")
        } catch {
            throw .unauthorized("the access token is not valid", code: "invalid_token")
        }
    }
}
