import Interfaces
import Workers

/// Uploads in parts, copies, ranges and encryption of the R2 binding. The header `x-key` carries 64 digits of a key.
extension StoreWorker {
    private struct Part: Codable {
        var partNumber: Int
        var etag: String
    }

    private static func bucket(_ exchange: Exchange) throws -> R2Bucket { try exchange.env.r2("R2") }

    private static func key(_ exchange: Exchange) -> String { exchange.parameters.get("key") ?? "" }

    private static func ssecKey(_ exchange: Exchange) throws -> R2CustomerKey? {
        try exchange.request.headers["x-key"].map { try R2CustomerKey(hexadecimal: $0) }
    }

    static func addUploads(_ routes: inout RouteBuilder) {
        routes.post("/r2-uploads/*key") { exchange in
            let upload = try await bucket(exchange).createMultipartUpload(key(exchange), ssecKey: try ssecKey(exchange))
            return .text(upload.uploadId)
        }
        routes.put("/r2-parts/:id/:number/*key") { exchange in
            guard let body = exchange.request.body else { return .text("no body", status: 400) }
            let upload = try bucket(exchange).resumeMultipartUpload(
                key(exchange), uploadId: exchange.parameters.get("id") ?? "")
            let number = try exchange.parameters.get("number", as: Int.self)
            return .text(try await upload.uploadPart(number, body, ssecKey: try ssecKey(exchange)).etag)
        }
        // Completes with all parts that are there.
        routes.post("/r2-complete/:id/*key") { exchange in
            let upload = try bucket(exchange).resumeMultipartUpload(
                key(exchange), uploadId: exchange.parameters.get("id") ?? "")
            let parts = try await upload.listParts().parts.map(\.uploadedPart)
            do { return .text(try await upload.complete(parts).etag) } catch let failure as CallFailure {
                return .text(failure.message, status: 409)
            }
        }
        routes.post("/r2-copy/:target/*key") { exchange in
            let target = exchange.parameters.get("target") ?? ""
            do {
                return .text(try await bucket(exchange).copy(key(exchange), to: target).etag)
            } catch let failure as CallFailure { return .text(failure.message, status: 409) }
        }
        routes.put("/r2-sealed/*key") { exchange in
            guard let body = exchange.request.body else { return .text("no body", status: 400) }
            let object = try await bucket(exchange).put(key(exchange), body, ssecKey: try ssecKey(exchange))
            return .text(object?.ssecKeyMd5 ?? "-")
        }
        routes.get("/r2-sealed/*key") { exchange in
            do {
                let range = R2Range(exchange.request.headers)
                guard let object = try await bucket(exchange).get(key(exchange), range: range, ssecKey: try ssecKey(exchange))
                else { return .text("missing", status: 404) }
                return Response(body: object.body)
            } catch let failure as CallFailure { return .text(failure.message, status: 409) }
        }
    }
}
