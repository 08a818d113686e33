internal import ControlPlane

enum VersionsUploadCommand: Command {
    static let name = "upload"
    static let summary = "Makes a version of an executable, which gets no requests but by its own host names"
    static let discussion = """
        All but the code is as in the worker's newest version. Where the environment has preview hosts, the version answers on
        ID-WORKER.preview.DOMAIN, ID being the first eight digits of its id, and on ALIAS-WORKER.preview.DOMAIN.

        example: edge versions upload .build/release/ApiGateway --name api-gateway --preview-alias new-login
        """
    static let operands: [Operand] = [.one("EXECUTABLE")]
    static let options =
        WorkerOption.options + [
            .value("preview-alias", "ALIAS", "a name for its host: small letters, digits and dashes"),
            .value("tag", "TEXT", "what you call it"), .value("message", "TEXT", "what is new"),
        ]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let file = try InputFile(try arguments.required("EXECUTABLE"))
        let client = try APIClient(arguments)
        var annotations: [JSON.Member] = []
        for (option, name) in [("preview-alias", "alias"), ("tag", "tag"), ("message", "message")] {
            guard let text = arguments.value(option) else { continue }
            annotations.append(.init(name: "workers/\(name)", value: .string(text)))
        }
        var form = MultipartForm()
        let metadata = JSON.object(["main_module": "worker", "annotations": .object(annotations)])
        form.add("metadata", String(decoding: metadata.bytes, as: UTF8.self), contentType: "application/json")
        form.add("worker", file, filename: "worker")
        let answer = try await client.upload(
            "POST", "\(try await WorkerOption.path(client, arguments))/versions", query: [("inherit", "all")], form.body,
            title: arguments.has("json") ? nil : file.name)
        let version = answer["result"] ?? .null
        if arguments.has("json") {
            Output.json(version)
            return ExitCode.success
        }
        print("uploaded version \(version["number"]?.integer ?? 0) \(version["id"]?.text ?? "")")
        for name in ["preview_host", "preview_alias_host"] {
            if let host = version[name]?.text { print("preview host: \(host)") }
        }
        return ExitCode.success
    }
}
