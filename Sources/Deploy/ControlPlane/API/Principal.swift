/// Who calls: a token, and what it may do.
package struct Principal: Equatable, Sendable {
    package struct Grant: Equatable, Sendable {
        /// `nil` for all tenants.
        package let tenant: String?
        /// `nil` for all products.
        package let product: APIOperation.Product?
        package let level: APIOperation.Level
        /// The objects of this bucket alone, and nothing that is the bucket's own; `nil` for no such limit.
        package let bucket: String?

        package init(
            tenant: String?, product: APIOperation.Product?, level: APIOperation.Level, bucket: String? = nil
        ) {
            self.tenant = tenant
            self.product = product
            self.level = level
            self.bucket = bucket
        }
    }

    /// 32 hexadecimal digits.
    package let tokenID: String
    package let name: String
    package let grants: [Grant]

    static let nobody = Principal(tokenID: "", name: "", grants: [])

    package init(tokenID: String, name: String, grants: [Grant]) {
        self.tokenID = tokenID
        self.name = name
        self.grants = grants
    }

    /// - Parameter bucket: For what is done with the objects of one.
    package func may(
        _ product: APIOperation.Product, _ level: APIOperation.Level, on tenant: String, bucket: String? = nil
    ) -> Bool {
        grants.contains { grant in
            (grant.tenant ?? tenant) == tenant && (grant.product ?? product) == product && grant.level >= level
                && (grant.bucket == nil || grant.bucket == bucket)
        }
    }

    /// Whether it may do anything at all there.
    package func knows(_ tenant: String) -> Bool { grants.contains { ($0.tenant ?? tenant) == tenant } }
}
