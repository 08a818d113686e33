internal import Host
internal import HTTP
internal import Releases

/// The form that brings a worker's code: modules, which go to the disk as they arrive, and what is said of them. SDKs name
/// all modules `files` and send what is said last; wrangler names each part like its module, and sends it first.
struct UploadForm {
    struct Module {
        let name: String
        let upload: ArtifactUpload
    }

    /// The part with JSON; `null` when there is none.
    private(set) var metadata = JSON.null
    private(set) var modules: [Module] = []

    static let codeBytesMax: Int64 = 64 << 20
    private static let metadataBytesMax = 1 << 20
    /// What is read of a form that is too large, so that its sender hears of it.
    private static let drainedBytesMax = 1 << 30

    /// - Parameter json: the name of the part with JSON.
    /// - Throws: `ScriptError`, `MultipartError`, or what the disk says.
    static func read(_ call: APICall, json: String, into store: ArtifactStore) async throws -> UploadForm {
        guard let body = call.body else { throw ScriptError(400, 10001, "The request has no body") }
        let form: MultipartBody
        do throws(MultipartError) {
            form = try MultipartBody(
                body, contentType: call.header("content-type") ?? "",
                limits: MultipartLimits(partsMax: 100, totalBytesMax: drainedBytesMax))
        } catch { throw ScriptError(400, 10001, "The content type must be multipart/form-data: \(error)") }
        var result = UploadForm()
        var codeBytes: Int64 = 0
        while let part = try await form.nextPart() {
            if part.name == json {
                guard let value = JSON(try await form.bytes(of: part, bytesMax: metadataBytesMax)), value.members != nil else {
                    throw ScriptError(400, 10026, "The part \(json) must be a JSON object")
                }
                result.metadata = value
                continue
            }
            guard codeBytes <= codeBytesMax else { continue }
            let upload = try await ArtifactUpload(to: store)
            while let piece = try await form.nextPiece() {
                codeBytes += Int64(piece.count)
                // All of it is read: a sender that is cut off hears no reason.
                if codeBytes <= codeBytesMax { try await upload.write(piece) }
            }
            result.modules.append(Module(name: moduleName(part), upload: upload))
        }
        guard codeBytes <= codeBytesMax else {
            throw ScriptError(
                413, 10027, "The Worker has \(codeBytes) bytes of code; at most \(codeBytesMax) are possible")
        }
        return result
    }

    private static func moduleName(_ part: MultipartField) -> String {
        guard let filename = part.filename, !filename.isEmpty, filename != "upload", filename != "blob" else {
            return part.name
        }
        return filename
    }

    /// The code: the one module, which must be an executable.
    ///
    /// - Returns: its name, and its place in the store.
    func code() async throws -> (name: String, artifact: ArtifactStore.Hold) {
        guard let main = metadata["main_module"]?.text ?? metadata["body_part"]?.text else {
            throw ScriptError.invalid("metadata names no main_module")
        }
        guard let module = modules.first(where: { $0.name == main }) else {
            let names = modules.map { "\"\($0.name)\"" }.joined(separator: ", ")
            throw ScriptError.invalid("no such module \"\(main)\"; there \(modules.isEmpty ? "is none" : "are \(names)")")
        }
        if let other = modules.first(where: { !$0.upload.isELF || $0.name != main }) {
            throw ScriptError.invalid(
                "unsupported module type: \"\(other.name)\"; a Worker is one module, an executable in the ELF format")
        }
        return (main, try await module.upload.finish())
    }
}
