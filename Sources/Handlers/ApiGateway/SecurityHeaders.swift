import Platform

/// What every answer of an API carries (OWASP REST Security Cheat Sheet). A service's own value is kept
/// where it is stricter knowledge: its content security policy and its cache rules.
enum SecurityHeaders {
    static func write(to headers: inout HeaderChanges, scheme: String?) {
        headers["x-content-type-options"] = "nosniff"
        headers["x-frame-options"] = "DENY"
        headers["referrer-policy"] = "no-referrer"
        headers["permissions-policy"] = "camera=(), geolocation=(), microphone=()"
        headers["cross-origin-opener-policy"] = "same-origin"
        if headers["content-security-policy"] == nil {
            headers["content-security-policy"] = "default-src 'none'; frame-ancestors 'none'"
        }
        if headers["cache-control"] == nil { headers["cache-control"] = "no-store" }
        // Over plain HTTP the header means nothing (RFC 6797 §7.2).
        if scheme == "https" { headers["strict-transport-security"] = "max-age=31536000; includeSubDomains" }
    }
}
