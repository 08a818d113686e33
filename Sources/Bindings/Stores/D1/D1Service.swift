package import Interfaces
package import Stores
internal import Wire

/// One database as one binding sees it.
package struct D1Service: StoreService {
    private let store: any D1Store
    private let database: String

    /// A reply up to this size is the message, a larger one the body behind it.
    private static let inlineBytesMax = 1 << 20

    /// A request up to this size isn't counted: the databases' queues bound how many of them wait.
    private static let freeRequestBytes = 64 << 10

    package init(store: any D1Store, database: String) {
        self.store = store
        self.database = database
    }

    package func answer(_ call: StoreCall) async throws(CallFailure) -> StoreReply {
        guard call.kind == .d1Query else { throw CallFailure("D1_ERROR: no such operation") }
        let (request, share) = try await request(call)
        // A large request counts until it is answered.
        defer { withExtendedLifetime(share) {} }
        do {
            let answer = try await store.run(request, on: database)
            guard answer.bytes.count > Self.inlineBytesMax else { return StoreReply(message: answer.bytes) }
            return StoreReply(message: [1], body: .stream(HeldBytes(answer.bytes, answer.share)))
        } catch {
            throw Self.failure(error, of: request)
        }
    }

    private func request(_ call: StoreCall) async throws(CallFailure) -> (D1Request, Budget.Share?) {
        var bytes = call.message
        var share: Budget.Share?
        if D1Request.isInBody(bytes), let body = call.body {
            do throws(Budget.Refused) { share = try await store.incoming.acquire(D1Request.bytesMax) } catch {
                body.cancel()
                throw CallFailure("D1_ERROR: \(D1Failure.overloadedQueue)")
            }
            bytes = try await collect(body)
            share?.shrink(to: bytes.count)
        } else if bytes.count > Self.freeRequestBytes {
            do throws(Budget.Refused) { share = try await store.incoming.acquire(bytes.count) } catch {
                throw CallFailure("D1_ERROR: \(D1Failure.overloadedQueue)")
            }
        }
        let request: D1Request
        do { request = try D1Request(decoding: bytes) } catch { throw .malformedCall(error) }
        if case .query(let statements, _) = request.work, statements.count > D1Request.statementsMax {
            throw CallFailure(
                "D1_ERROR: a batch of more than \(D1Request.statementsMax) statements; send several batches")
        }
        guard call.queries?.take(request.work.queryCount) ?? true else {
            throw CallFailure("D1_ERROR: Too many API requests by single worker invocation.")
        }
        if let queries = call.queries { call.note(queries.used, of: .queries, queries.total) }
        if call.listener != nil {
            call.note(request.work.longestStatement, of: .statement, D1Limits.standard.statementBytesMax)
        }
        return (request, share)
    }

    private func collect(_ body: any BodySource) async throws(CallFailure) -> [UInt8] {
        var bytes: [UInt8] = []
        do {
            while let piece = try await body.next() {
                guard bytes.count + piece.count <= D1Request.bytesMax else {
                    body.cancel()
                    throw CallFailure("D1_ERROR: request is larger than \(D1Request.bytesMax) bytes")
                }
                bytes.append(contentsOf: piece)
            }
        } catch let failure as CallFailure {
            throw failure
        } catch { throw CallFailure("D1_ERROR: \(D1Failure.closed)") }
        return bytes
    }

    private static func failure(_ failure: D1Failure, of request: D1Request) -> CallFailure {
        let code = failure == .frozen ? CallFailure.heldStoreCode : 0
        switch request.work {
        case .query: return CallFailure("D1_ERROR: \(failure.text)", code: code)
        case .exec:
            guard case .line(let number, let text)? = failure.part else {
                return CallFailure("D1_EXEC_ERROR: \(failure.text)", code: code)
            }
            return CallFailure("D1_EXEC_ERROR: Error in line \(number): \(D1Failure.shortened(text)): \(failure.text)")
        }
    }
}

extension D1Request.Work {
    /// Bytes of its longest text.
    fileprivate var longestStatement: Int {
        switch self {
        case .query(let statements, _): statements.reduce(0) { max($0, $1.sql.utf8.count) }
        case .exec(let text): text.utf8.split(separator: 10).reduce(0) { max($0, $1.count) }
        }
    }

    /// What it counts as: each statement of a batch, each line of an `exec` that says something.
    fileprivate var queryCount: Int {
        switch self {
        case .query(let statements, _): statements.count
        case .exec(let text): max(1, text.utf8.split(separator: 10).count { !$0.allSatisfy { $0 <= 0x20 } })
        }
    }
}
