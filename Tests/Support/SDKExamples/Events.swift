import Workers

func answerNow(_ env: Env, _ context: ExecutionContext) -> Response {
    context.waitUntil {
        try await context.sleep(for: .seconds(1))
        try await env.queue("EVENTS").send(["type": "seen"])
    }
    return .text("thank you\n")
}

func answerErrors(_ request: Request, _ env: Env, _ context: ExecutionContext) async throws -> Response {
    do {
        let session: Session = try await request.json(upTo: 4096)
        try await env.kv("SESSIONS").put(session.user, "here")
        return .empty()
    } catch let error as BodyTooLarge {
        return .text("\(error)\n", status: 413)
    } catch is DecodingError {
        return .text("this is not a session\n", status: 400)
    } catch let failure as CallFailure {
        context.log.error("KV", ["message": failure.message])
        return .text("try again later\n", status: 503)
    }
}

func report(_ context: ExecutionContext) {
    let worker = context.metadata
    context.log.warn("slow", ["worker": worker.worker, "version": worker.version, "at": "\(context.now)"])
}

func countPrimes(upTo limit: Int) async throws -> Int {
    try await Blocking.run {
        (2...limit).filter { number in !(2..<number).contains { number.isMultiple(of: $0) } }.count
    }
}
