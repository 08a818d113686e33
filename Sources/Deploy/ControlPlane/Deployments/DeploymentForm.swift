internal import Host
internal import HTTP
internal import Releases
internal import Stores

/// What asks for a deployment: a form with `options`, JSON, and `bundle`, a tape archive; or JSON alone, which names a bundle that
/// the node has.
struct DeploymentForm {
    /// A bundle without its archive: that of a release that there was, or the one that was just looked for.
    private(set) var options: DeploymentOptions
    private(set) var bundle: BundleStore.Hold
    private(set) var trigger: DeploymentRecord.Trigger

    private static let optionsBytesMax = 64 << 10
    /// The archive's headers and padding beside its files' bytes.
    private static let totalBytesMax = Int(BundleStore.byteCountMax) + 256 << 20

    private static let schema = APISchema.object(
        DeploymentJSON.optionFields + [
            .optional("bundle", .nullable(.string(64...64))),
            .optional("trigger", .nullable(.choice(["deploy", "promotion", "secret", "configuration"]))),
        ])

    static func read(_ call: APICall, _ services: APIServices) async throws -> DeploymentForm {
        guard let body = call.body else { throw APIError(400, 10026, "The request has no body") }
        let type = call.header("content-type") ?? ""
        guard type.lowercased().hasPrefix("multipart/form-data") else {
            var text: [UInt8] = []
            while let piece = try await call.nextPiece() {
                text += piece
                guard text.count <= optionsBytesMax else {
                    throw APIError(413, 10027, "The body is longer than \(optionsBytesMax) bytes")
                }
            }
            return try await finish(text.isEmpty ? .object([]) : JSON(text), nil, call, services)
        }
        let form = try MultipartBody(
            body, contentType: type, limits: MultipartLimits(partsMax: 4, totalBytesMax: totalBytesMax))
        var options: JSON? = .object([])
        var bundle: BundleStore.Hold?
        while let part = try await form.nextPart() {
            switch part.name {
            case "options": options = JSON(try await form.bytes(of: part, bytesMax: optionsBytesMax))
            case "bundle" where bundle == nil:
                do {
                    bundle = try await services.releaseServices().bundles.receive(MultipartPartSource(form))
                } catch {
                    // All of it is read: a sender that is cut off hears no reason.
                    while try await form.nextPiece() != nil {}
                    throw error
                }
            default: throw APIError(400, 10026, "The form has a part \"\(part.name.prefix(100))\", which means nothing here")
            }
        }
        return try await finish(options, bundle, call, services)
    }

    private static func finish(
        _ json: JSON?, _ sent: BundleStore.Hold?, _ call: APICall, _ services: APIServices
    ) async throws -> DeploymentForm {
        guard let json, json.members != nil else { throw APIError.malformedBody }
        do throws(APISchema.Mismatch) { try schema.check(json) } catch {
            throw APIError(400, 10026, "\(error.pointer) must be \(error.expected)", pointer: error.pointer)
        }
        let wanted = json["bundle"]?.text
        let bundle: BundleStore.Hold
        if let sent {
            if let wanted, wanted != sent.bundle.hash { throw BundleError.otherHash(sent.bundle.hash, wanted: wanted) }
            bundle = sent
        } else if let wanted {
            let runner = try services.accounts.runner(call)
            guard let known = try await ArtifactOperations.bundle(wanted, services, runner) else {
                throw BundleError.unknown(wanted)
            }
            bundle = known
        } else {
            throw APIError(400, 10026, "The form must have a bundle, or options that name one")
        }
        return DeploymentForm(
            options: try DeploymentJSON.options(json), bundle: bundle,
            trigger: json["trigger"]?.text.flatMap(DeploymentRecord.Trigger.init(rawValue:)) ?? .deploy)
    }
}
