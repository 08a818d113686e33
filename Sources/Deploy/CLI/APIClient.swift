internal import ControlPlane
internal import Glibc
internal import System

/// What the commands that manage a node share: where it is, who asks, and what went wrong.
struct APIClient {
    static let options: [Option] = [
        .value("control", "URL", "the control URL of the node's ready line; required"),
        .value("token", "TOKEN", "who asks ($EDGE_API_TOKEN, else the operator's, from --state)"),
        .value("state", "DIRECTORY", "a local node's state, which has the operator's token (state/dev)"),
        .flag("json", "prints the node's own answer"),
    ]

    private let url: String
    private let client: ControlClient
    private let token: String

    init(_ arguments: CommandLineArguments) throws {
        guard let url = arguments.value("control") else { throw UsageError.missingArgument("--control URL") }
        guard let client = ControlClient(url) else {
            throw UsageError.invalidValue(option: "--control", value: url, expected: "http://HOST:PORT")
        }
        self.url = url
        self.client = client
        // SAFETY: getenv's result is copied at once.
        let environment = unsafe getenv("EDGE_API_TOKEN").map { unsafe String(cString: $0) }
        if let token = arguments.value("token") ?? environment {
            self.token = token
        } else {
            let file = OperatorToken.path(in: arguments.value("state") ?? "state/dev")
            guard let text = try FileTree.readTextIfPresent(file)?.split(separator: "\n").first else {
                throw APIFailure("there is no \(file): give --state of the node, or a token with --token or $EDGE_API_TOKEN")
            }
            token = String(text)
        }
    }

    /// The envelope of the answer.
    func call(_ method: String, _ path: String, _ body: JSON? = nil) throws -> JSON {
        let answer = try client.send(method, "/client/v4" + path, token: token, json: body?.bytes)
        guard let json = JSON(Array(answer.body.utf8)), json["success"] != nil else {
            throw APIFailure("\(url) answers \(answer.status); is it the control URL, the second one of the ready line?")
        }
        guard json["success"] == true else {
            let errors = (json["errors"]?.items ?? []).map { error in
                "\(error["message"]?.text ?? "") (\(error["code"]?.integer ?? 0))"
            }
            throw APIFailure(errors.joined(separator: "; "))
        }
        return json
    }
}

struct APIFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
