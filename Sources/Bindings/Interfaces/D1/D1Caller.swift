internal import Wire

/// Carries the calls of one binding: encodes them, sends them, reads what comes back.
struct D1Caller: Sendable {
    let transport: any BindingTransport
    let binding: UInt16
    var session: D1SessionState?

    static let noResult = CallFailure("D1_ERROR: Network connection lost.")

    func query(
        _ statements: [D1Request.Statement], take: D1Request.Take = .allRows
    ) async throws -> [D1Result] {
        try await reply(to: .query(statements, take)).results(columns: false).map(\.0)
    }

    func queryWithColumns(
        _ statements: [D1Request.Statement]
    ) async throws -> [(D1Result, columns: [String])] {
        try await reply(to: .query(statements, .allRows)).results(columns: true)
    }

    func exec(_ text: String) async throws -> D1ExecResult { try await reply(to: .exec(text)).exec() }

    private func reply(to work: D1Request.Work) async throws -> D1ReplyReader {
        let request = D1Request(work, session: session?.demand)
        let (message, body) = request.encoded()
        let call = BindingCall(
            .d1Query, binding: binding, message: message, body: body.map { ByteStream($0) })
        do {
            let reply = try await transport.perform(call)
            let reader = try await D1ReplyReader(reply)
            if let session, let bookmark = reader.bookmark { session.advance(to: bookmark) }
            return reader
        } catch let failure as CallFailure {
            // What the way to the node says of itself carries no prefix yet.
            guard !failure.message.hasPrefix("D1_") else { throw failure }
            throw CallFailure("D1_ERROR: \(failure.message)", name: failure.name, code: failure.code)
        } catch is WireError {
            throw D1Caller.noResult
        }
    }
}
