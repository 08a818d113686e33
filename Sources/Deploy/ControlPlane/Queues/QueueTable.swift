internal import Interfaces
internal import Releases
internal import StoresQueues

/// Makes the operations on queues: each finds its tenant's store, and says what the store refuses in the API's numbers
/// (spec queues.md §6).
struct QueueTable: Sendable {
    /// Which of the product's two services an operation belongs to: they have numbers of their own.
    enum Plane {
        /// Queues and consumers.
        case management
        /// Messages.
        case data
    }

    private let services: APIServices

    init(_ services: APIServices) { self.services = services }

    /// - Parameter isPolled: Consumers call it all the time: see `APIOperation.isPolled`.
    func operation(
        _ method: String, _ path: String, id: String, _ summary: String, _ level: APIOperation.Level,
        _ plane: Plane = .management, query: [APIOperation.Parameter] = [], body: APIOperation.Body = .none,
        result: APIOperation.Result, isPolled: Bool = false,
        answer: @escaping @Sendable (QueueContext) async throws -> APIReply
    ) -> APIOperation {
        let accounts = services.accounts
        return APIOperation(
            method, "/accounts/{account_id}/queues" + path, id: "queues." + id, summary, .account(.queues, level),
            query: query, body: body, result: result, isPolled: isPolled
        ) { call in
            do {
                return try await answer(QueueContext(call: call, runner: try accounts.runner(call)))
            } catch let error as QueueError {
                throw Self.failure(error, plane)
            } catch let failure as CallFailure {
                throw Self.failure(failure)
            } catch let refusal as ReleaseRunner.RenameRefusal {
                throw Self.failure(refusal)
            }
        }
    }

    static func failure(_ error: QueueError, _ plane: Plane) -> APIError {
        switch error {
        case .refused(let failure): self.failure(failure)
        case .noSuchQueue:
            plane == .data
                ? APIError(404, 10104, "The specified queue does not exist.") : APIError(404, 11000, "Queue not found.")
        case .deliveryPaused: APIError(409, 10252, "queue_delivery_paused")
        case .overloaded: APIError(429, 10250, "Too Many Requests", retryAfterSeconds: 1)
        case .failed: APIError(500, 15000, "Unknown Internal Error")
        }
    }

    static func failure(_ failure: CallFailure) -> APIError {
        let status =
            switch failure.code {
            case 10204, 10205, 10206: 413
            case 10250: 429
            case 11009: 409
            default: 400
            }
        return APIError(status, failure.code, failure.message, retryAfterSeconds: status == 429 ? 1 : nil)
    }

    private static func failure(_ refusal: ReleaseRunner.RenameRefusal) -> APIError {
        switch refusal {
        case .busy: APIError(503, 10250, "A release is being brought into service: try again", retryAfterSeconds: 1)
        case .usedByWorker(let worker):
            APIError(
                400, 100128,
                "invalid queue settings: worker \"\(worker)\" names the queue in its configuration: take it out "
                    + "there, deploy, and rename the queue then")
        case .usedByBucket(let bucket):
            APIError(
                400, 100128,
                "invalid queue settings: bucket \"\(bucket)\" has event notification rules for the queue: "
                    + "remove them first")
        }
    }
}

/// One call, and what it works on.
struct QueueContext: Sendable {
    let call: APICall
    let runner: ReleaseRunner

    var store: any QueueStore { runner.queueStore }

    /// The queue that the path names.
    func queue() throws -> QueueRecord {
        let id = (call.parameters["queue_id"] ?? "").lowercased()
        guard let record = try store.queue(withID: id) else { throw QueueError.noSuchQueue(id) }
        return record
    }
}
