internal import Curl
internal import System

/// Asks a node something over its control listener. Bodies flow: nothing is held but a window of them.
final class NodeClient: Sendable {
    let address: NodeAddress
    let clock: any NodeClock = SystemClock()
    private let engine: CurlEngine
    /// How long an answer may take to begin: some calls do their work before, such as a verification or an import.
    private let patience: Duration

    init(_ address: NodeAddress, patience: Duration = .seconds(3600)) {
        self.address = address
        self.patience = patience
        engine = CurlEngine(threadName: "edge-client", clock: clock)
    }

    /// The answer's head, and its body, which comes piece by piece.
    struct Answer {
        let head: CurlHead
        fileprivate let transfer: CurlTransfer

        var status: Int { head.status }
        func header(_ name: String) -> String? { head.headers.first { $0.name == name }?.value }
        var byteCount: Int64? { header("content-length").flatMap { Int64($0) } }
        /// The next piece; `nil` at the end.
        func next() async throws(APIFailure) -> [UInt8]? {
            do throws(CurlError) { return try await transfer.next() } catch {
                throw APIFailure("the answer broke off: \(error)")
            }
        }

        /// No more is wanted: the node is told so.
        func cancel() { transfer.cancel() }

        /// All of a short body.
        func bytes(max: Int = 64 << 20) async throws -> [UInt8] {
            var bytes: [UInt8] = []
            while let piece = try await next() {
                bytes += piece
                guard bytes.count <= max else {
                    transfer.cancel()
                    throw APIFailure("the answer has more than \(HumanText.bytes(Int64(max)))")
                }
            }
            return bytes
        }
    }

    /// Sends a request and waits for the answer's head.
    ///
    /// - Parameters:
    ///   - target: Path and query.
    ///   - progress: Told what is sent.
    func send(
        _ method: String, _ target: String, headers: [(name: String, value: String)] = [], body: UploadBody? = nil,
        progress: ProgressBar? = nil
    ) async throws -> Answer {
        var request = CurlRequest(
            method: method, url: address.origin + target, headers: headers, body: Self.form(of: body)
        ) { _ in true }
        if let type = body?.contentType { request.headers.append(("content-type", type)) }
        request.authorities = address.authorities
        request.timeouts.connect = min(patience, request.timeouts.connect)
        request.timeouts.head = patience
        request.timeouts.idle = .seconds(600)
        let transfer = engine.start(request)
        do {
            if case .streamed = request.body, let body { try await send(body, over: transfer, progress) }
            return Answer(head: try await transfer.head(), transfer: transfer)
        } catch let error as CurlError {
            throw APIFailure(unreached(error))
        } catch {
            transfer.cancel()
            throw error
        }
    }

    private static func form(of body: UploadBody?) -> CurlRequest.Body {
        guard let body else { return .none }
        if body.parts.count == 1, case .bytes(let bytes) = body.parts[0] { return .bytes(bytes) }
        return .streamed(length: body.byteCount)
    }

    private func send(_ body: UploadBody, over transfer: CurlTransfer, _ progress: ProgressBar?) async throws {
        for part in body.parts {
            switch part {
            case .bytes(let bytes): guard try await send(bytes, over: transfer, progress) else { return }
            case .file(let file):
                // No more than was declared, if the file grows meanwhile; if it shrinks, the node gets too little and refuses.
                var left = file.byteCount ?? .max
                while left > 0 {
                    let piece = try file.read(limit: Int(clamping: left))
                    if piece.isEmpty { break }
                    left -= Int64(piece.count)
                    guard try await send(piece, over: transfer, progress) else { return }
                }
            }
        }
        transfer.endUpload()
    }

    /// - Returns: false when the node has answered already and wants no more.
    private func send(_ piece: [UInt8], over transfer: CurlTransfer, _ progress: ProgressBar?) async throws -> Bool {
        do throws(CurlError) {
            try await transfer.send(piece)
        } catch {
            // An early refusal says more than that the connection is gone; without one this throws.
            _ = try await transfer.head()
            return false
        }
        progress?.advance(by: piece.count)
        return true
    }

    private func unreached(_ error: CurlError) -> String {
        switch error {
        // https://curl.se/libcurl/c/libcurl-errors.html
        case .failed(6, _): "\(address.origin): there is no such host"
        case .failed(7, _): "\(address.origin): no node answers there (connection refused, or no way to it)"
        case .failed(60, let text):
            "\(address.origin): its certificate isn't trusted (\(text)); --ca FILE names the authority that signed it"
        case .failed(77, _): "\(address.authorities ?? "the system's certificates"): has no certificates in PEM form"
        default: "\(address.origin): \(error)"
        }
    }
}
