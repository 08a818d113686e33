import Interfaces
import Synchronization
import System
import Testing
import Wire

@testable import Workers

@Suite(.timeLimit(.minutes(5))) struct `Event loop` {
    private struct Oops: Error, CustomStringConvertible { var description: String { "it broke" } }

    // MARK: Answers

    @Test func `says which handlers the worker has`() async throws {
        let host = try FakeHost { _ in FetchWorker { _, _, _ in .text("") } }
        let reply = try await host.configure(.test())
        var decoder = WireDecoder(Array(reply.payload[1...]))
        #expect(reply.payload[0] == 0)
        #expect(try IsolateDescription(decoding: &decoder).handlers == ["fetch"])
    }

    @Test func `answers hello in an open and a data frame`() async throws {
        let host = try await FakeHost { _, _, _ in .text("hello") }
        host.fetch(3)
        let head = try await host.next()
        #expect(head.kind == .open && head.stream == 3 && !head.isEnd)
        let data = try await host.next()
        #expect(data == FakeHost.Frame(kind: .data, flags: .end, stream: 3, payload: Array("hello".utf8)))
        let answer = try Answer(head.payload)
        #expect(answer.status == 200 && answer.bodyLength == 5 && answer.flags == 1)
        #expect(answer.headers == ["content-type": "text/plain; charset=utf-8"])
    }

    @Test func `hands the handler method, URL, headers and variables`() async throws {
        let host = try await FakeHost { request, env, context in
            let limits = try env.variable("LIMITS", as: [String: Int].self)
            return .text(
                "\(request.method) \(request.url.href) \(request.path) \(request.headers["x-a"] ?? "-") "
                    + "\(env.variable("GREETING") ?? "-") \(limits?["max"] ?? 0) \(env.secret("TOKEN")?.reveal() ?? "-") "
                    + "\(request.cf.clientAcceptEncoding ?? "-") \(context.metadata.worker)")
        }
        host.fetch(3, "/a/b?c=d", method: 5, headers: [("x-a", "1")])
        #expect(
            try await host.answer(3).text
                == "DELETE http://example.com/a/b?c=d /a/b 1 hi 3 s3cret gzip worker")
    }

    @Test func `describes a secret without telling it`() async throws {
        let host = try await FakeHost { _, env, _ in
            let secret = try #require(env.secret("TOKEN"))
            return .text(
                "\(secret) \(String(reflecting: secret)) \(String(describing: Mirror(reflecting: secret).children.count))"
            )
        }
        host.fetch(3)
        #expect(try await host.answer(3).text == "<redacted> <redacted> 0")
    }

    @Test func `runs events concurrently and answers each with its own`() async throws {
        let host = try await FakeHost { request, env, _ in
            .text(
                String(decoding: try await env.call(.kvGet, Array(request.path.utf8)).message, as: UTF8.self))
        }
        for index in 0..<100 { host.fetch(UInt32(3 + 2 * index), "/\(index)") }
        var calls: [(stream: UInt32, call: Call)] = []
        while calls.count < 100 { calls.append(try { ($0.stream, try Call($0)) }(try await host.next())) }
        #expect(Set(calls.map(\.call.parent)).count == 100)
        for (stream, call) in calls.reversed() { host.send(.open, stream, [0] + call.message, flags: .end) }
        var answers: [UInt32: String] = [:]
        while answers.count < 100 {
            let frame = try await host.next { $0.kind == .data }
            answers[frame.stream] = String(decoding: frame.payload, as: UTF8.self)
        }
        for index in 0..<100 { #expect(answers[UInt32(3 + 2 * index)] == "/\(index)") }
    }

    @Test func `turns an error into its name and text`() async throws {
        let host = try await FakeHost { _, _, context in
            context.passThroughOnException()
            throw Oops()
        }
        host.fetch(3)
        let frame = try await host.next()
        #expect(frame.isEnd && frame.payload.last == 1)
        #expect(try Answer(frame.payload).failure == CallFailure("it broke", name: "Oops"))
    }

    @Test(arguments: [
        (204, "x", "TypeError", "Response with null body status (101, 204, 205, or 304) cannot have a body."),
        (304, "x", "TypeError", "Response with null body status (101, 204, 205, or 304) cannot have a body."),
        (
            199, "x", "RangeError",
            "Responses may only be constructed with status codes in the range 200 to 599, inclusive. (got 199)"
        ),
        (
            600, "x", "RangeError",
            "Responses may only be constructed with status codes in the range 200 to 599, inclusive. (got 600)"
        ),
    ])
    func `probe 5: refuses a response that can't be sent`(
        status: Int, text: String, name: String, message: String
    ) async throws {
        let host = try await FakeHost { _, _, _ in .text(text, status: status) }
        host.fetch(3)
        #expect(try await host.answer(3).failure == CallFailure(message, name: name))
        #expect(throws: CallFailure(message, name: name)) {
            try Response(status: status, body: ByteStream(text))
        }
    }

    @Test func `probe 5: answers HEAD with the length that GET has`() async throws {
        let host = try await FakeHost { request, _, _ in .text("hello") }
        host.fetch(3, method: 2)
        #expect(try await host.answer(3).bodyLength == 5)
    }

    @Test func `answers without a body in one frame`() async throws {
        let host = try await FakeHost { _, _, _ in .empty() }
        host.fetch(3)
        let frame = try await host.next()
        #expect(frame.isEnd)
        #expect(try Answer(frame.payload).status == 204 && Answer(frame.payload).flags == 0)
    }

    @Test func `refuses events that the worker has no handler for`() async throws {
        let host = try await FakeHost { _, _, _ in .text("") }
        var encoder = WireEncoder()
        ScheduledMessage(cron: "* * * * *", scheduledTime: 0).encode(into: &encoder)
        host.event(.scheduled, 3, encoder.bytes)
        #expect(
            try await host.answer(3).failure?.message == "Handler does not export a scheduled() function.")
    }

    // MARK: Bodies

    @Test func `sends a body no further than its credit`() async throws {
        let total = 600_000
        let host = try await FakeHost { _, _, _ in .bytes([UInt8](repeating: 7, count: total)) }
        host.fetch(3)
        var received = 0
        while received < WireLimits.initialCredit { received += try await host.next().dataCount }
        #expect(received == WireLimits.initialCredit)
        for _ in 0..<3 {
            host.credit(1, 3)
            let frame = try await host.next()
            #expect(frame.kind == .data && frame.payload.count == 1)
        }
        host.credit(UInt32(total), 3)
        received += 3
        var last: FakeHost.Frame?
        while last?.kind != .end {
            last = try await host.next()
            received += last?.dataCount ?? 0
        }
        #expect(received == total)
    }

    @Test func `streams a body both ways under credit`() async throws {
        let host = try await FakeHost { request, _, _ in .stream(try #require(request.body)) }
        host.fetch(3, method: 3, bodyLength: -1)
        let piece = [UInt8](repeating: 1, count: 64 << 10)
        for round in 0..<32 {
            host.send(.data, 3, piece, flags: round == 31 ? .end : [])
            var back = 0
            while back < piece.count {
                let frame = try await host.next()
                // Both directions start with four pieces of credit; from then on each pays for the next.
                if frame.kind == .data {
                    back += frame.payload.count
                    host.credit(UInt32(frame.payload.count), 3)
                }
            }
        }
        #expect(try await host.next(where: { $0.kind == .end }).stream == 3)
    }

    @Test func `gives credit only for what was read`() async throws {
        let host = try await FakeHost { request, env, _ in
            _ = try await env.call(.kvGet)
            return .text("\(try await request.bytes().count)")
        }
        host.fetch(3, method: 3, bodyLength: Int64(WireLimits.initialCredit))
        for _ in 0..<4 { host.send(.data, 3, [UInt8](repeating: 0, count: 64 << 10)) }
        host.event(.health, 5)
        let call = try await host.next()
        #expect(call.kind == .open && call.stream == 2)
        #expect(try await host.next().stream == 5, "no credit before the handler reads")
        host.send(.open, 2, [0], flags: .end)
        #expect(try await host.next().kind == .credit)
        host.send(.end, 3)
        #expect(try await host.answer(3).text == "\(WireLimits.initialCredit)")
    }

    @Test func `ends when the node sends more than its credit`() async throws {
        let host = try await FakeHost { _, env, _ in
            _ = try await env.call(.kvGet)
            return .text("")
        }
        host.fetch(3, method: 3, bodyLength: -1)
        for _ in 0..<5 { host.send(.data, 3, [UInt8](repeating: 0, count: 64 << 10)) }
        #expect(await host.outcome() == .malformed(.creditExceeded(stream: 3)))
    }

    @Test func `refuses to read a body twice`() async throws {
        let host = try await FakeHost { request, _, _ in
            _ = try await request.text()
            return .text(try await request.text())
        }
        host.fetch(3, method: 3, bodyLength: 1)
        host.send(.data, 3, [65], flags: .end)
        #expect(
            try await host.answer(3).failure?.message
                == "Body has already been used. It can only be used once. Use tee() first if you need to read it twice."
        )
    }

    @Test func `cuts a body off that fails or has another length than announced`() async throws {
        let host = try await FakeHost { request, _, _ in
            var isFirst = true
            return .stream(
                ByteStream(length: request.path == "/short" ? 10 : nil) {
                    defer { isFirst = false }
                    if !isFirst, request.path == "/short" { return nil }
                    if !isFirst { throw Oops() }
                    return [1, 2, 3]
                })
        }
        host.fetch(3, "/fails")
        #expect(try await host.answer(3).resetCode == 1)
        host.fetch(5, "/short")
        let answer = try await host.answer(5)
        #expect(answer.resetCode == 1)
        #expect(answer.resetMessage == "response body has 3 bytes instead of the 10 it announced")
    }

    @Test func `leaves the body of an unread reply to the node`() async throws {
        let host = try await FakeHost { _, env, _ in
            try await env.service("SERVICE").fetch(Request("http://a/"))
        }
        host.fetch(3)
        let call = try await host.next()
        #expect(call.flags.contains(.lazyBody) && call.isEnd)
        #expect(try Call(call).kind == .subrequest)
        host.send(.open, call.stream, [0] + replyHead(status: 206, bodyLength: 1_000_000))
        let head = try await host.next()
        #expect(head.isEnd)
        let answer = try Answer(head.payload)
        #expect(answer.spliceStream == call.stream && answer.bodyLength == 1_000_000 && answer.status == 206)
        #expect(answer.flags == 1)
        host.event(.health, 5)
        #expect(try await host.next().stream == 5, "no reset follows a splice")
    }

    @Test func `pays for the body of a reply when it is first read`() async throws {
        let host = try await FakeHost { _, env, _ in
            let response = try await env.service("SERVICE").fetch(Request("http://a/"))
            return .text(try await response.text())
        }
        host.fetch(3)
        let call = try await host.next()
        host.send(.open, call.stream, [0] + replyHead(status: 200, bodyLength: 3))
        let credit = try await host.next()
        #expect(credit.kind == .credit && credit.stream == call.stream)
        host.send(.data, call.stream, Array("abc".utf8), flags: .end)
        #expect(try await host.answer(3).text == "abc")
    }

    @Test func `gives a reply up whose body nobody reads`() async throws {
        let host = try await FakeHost { _, env, _ in
            _ = try await env.service("SERVICE").fetch(Request("http://a/"))
            return .text("done")
        }
        host.fetch(3)
        let call = try await host.next()
        host.send(.open, call.stream, [0] + replyHead(status: 200, bodyLength: 3))
        #expect(try await host.next { $0.stream == call.stream }.kind == .reset)
    }

    // MARK: Calls

    @Test func `carries a call's kind, binding, event and message`() async throws {
        let host = try await FakeHost { _, env, _ in
            .bytes(try await env.call(.kvPut, [1, 2, 3], body: ByteStream([4, 5])).message)
        }
        host.fetch(7)
        let open = try await host.next()
        let call = try Call(open)
        #expect(call.kind == .kvPut && call.binding == 0 && call.parent == 7 && call.message == [1, 2, 3])
        let data = try await host.next()
        #expect(data.kind == .data && data.isEnd && data.payload == [4, 5] && data.stream == open.stream)
        host.send(.open, open.stream, [0, 9, 9], flags: .end)
        #expect(try await host.answer(7).body == [9, 9])
    }

    @Test func `sends data points one way, from helper threads too`() async throws {
        let host = try await FakeHost { _, env, _ in
            let dataset = AnalyticsDataset(transport: env.invocation, binding: 5)
            dataset.writeDataPoint(doubles: [1])
            try await Blocking.run { dataset.writeDataPoint(doubles: [2]) }
            dataset.writeDataPoint(indexes: ["two", "indexes"])
            return .text("done")
        }
        host.fetch(7)
        for double in [1.0, 2] {
            let frame = try await host.next()
            let call = try Call(frame)
            #expect(
                frame.isEnd && call.kind == .analyticsWrite && call.binding == 5 && call.parent == 7,
                "\(double): \(frame), \(call)")
            var decoder = WireDecoder(call.message)
            #expect(try AnalyticsPoint(decoding: &decoder) == AnalyticsPoint(doubles: [double]))
        }
        #expect(try Call(try await host.next()).log?.text.hasPrefix("writeDataPoint: the point was dropped") == true)
        // Nobody has answered, and nobody needs to.
        #expect(try await host.answer(7).text == "done")
    }

    @Test func `knows its version in the worker's init`() async throws {
        let host = try FakeHost { env in
            let version = try env.versionMetadata("VERSION")
            return FetchWorker { _, _, _ in .text("\(version.id) \(version.tag) \(version.timestamp)") }
        }
        var configuration = IsolateConfiguration.test(bindings: [.init("VERSION", .versionMetadata)])
        configuration.versionTag = "tag"
        configuration.versionTime = 1_767_225_600_000
        #expect(try await host.configure(configuration).payload.first == 0)
        host.fetch(3)
        #expect(try await host.answer(3).text == "v1 tag 2026-01-01T00:00:00.000Z")
    }

    @Test func `uploads a streamed body under credit`() async throws {
        let host = try await FakeHost { request, env, _ in
            .bytes(try await env.call(.r2Put, body: request.body).message)
        }
        host.fetch(3, method: 3, bodyLength: -1)
        let open = try await host.next()
        #expect(!open.isEnd)
        host.send(.data, 3, [1, 2, 3])
        #expect(
            try await host.next()
                == FakeHost.Frame(kind: .data, flags: [], stream: open.stream, payload: [1, 2, 3]))
        host.send(.end, 3)
        #expect(try await host.next().kind == .end)
        host.send(.open, open.stream, [0, 1], flags: .end)
        #expect(try await host.answer(3).body == [1])
    }

    @Test func `throws what the node answered or that the connection is lost`() async throws {
        let host = try await FakeHost { _, env, _ in
            do { _ = try await env.call(.kvGet) } catch { return .text("\(error)") }
            return .text("no error")
        }
        host.fetch(3)
        var encoder = WireEncoder()
        encoder.put(1 as UInt8)
        CallFailure("KV GET failed", name: "TypeError").encode(into: &encoder)
        host.send(.open, try await host.next().stream, encoder.bytes, flags: .end)
        #expect(try await host.answer(3).text == "TypeError: KV GET failed")
        host.fetch(5)
        host.reset(try await host.next().stream)
        #expect(try await host.answer(5).text == "Network connection lost.")
    }

    /// Calls of stores have a limit of their own, of at least 1000 (spec: runtime, section 8).
    @Test(arguments: [(CallKind.subrequest, 2), (.kvGet, 1000)])
    func `refuses calls above the limit`(_ kind: CallKind, _ most: Int) async throws {
        let host = try await FakeHost(configuration: .test(subrequestsMax: 2)) { _, env, _ in
            for _ in 0..<(most + 1) { _ = try await env.call(kind) }
            return .text("")
        }
        host.fetch(3)
        for _ in 0..<most { host.send(.open, try await host.next().stream, [0], flags: .end) }
        #expect(try await host.answer(3).failure?.message == "Too many subrequests.")
    }

    @Test func `counts calls of stores apart, up to a thousand`() async throws {
        let host = try await FakeHost(configuration: .test(subrequestsMax: 2)) { _, env, _ in
            for _ in 0..<1001 { _ = try await env.call(.kvGet) }
            return .text("")
        }
        host.fetch(3)
        for _ in 0..<1000 { host.send(.open, try await host.next().stream, [0], flags: .end) }
        #expect(try await host.answer(3).failure?.message == "Too many subrequests.")
    }

    @Test func `names the bindings that exist when one is asked for that doesn't`() async throws {
        let host = try await FakeHost { _, env, _ in .text("\(try env.service("SERVICES"))") }
        host.fetch(3)
        #expect(
            try await host.answer(3).failure?.message
                == "no service is bound as \"SERVICES\"; bound are: \"SERVICE\" (service)")
    }

    @Test func `refuses bindings in the worker's init`() async throws {
        let host = try FakeHost { env in
            _ = try env.service("SERVICE")
            return FetchWorker { _, _, _ in .text("") }
        }
        let reply = try await host.configure(.test())
        #expect(reply.payload.first == 1)
        #expect(
            try Answer(reply.payload).failure?.message
                .hasPrefix("Disallowed operation called within global scope. Asynchronous I/O") == true)
    }

    @Test func `refuses bindings of an event that is over`() async throws {
        let kept = Mutex<Env?>(nil)
        let host = try await FakeHost { _, env, _ in
            guard let old = kept.withLock({ $0 }) else {
                kept.withLock { $0 = env }
                return .text("kept")
            }
            _ = try await old.call(.kvGet)
            return .text("")
        }
        host.fetch(3)
        #expect(try await host.answer(3).text == "kept")
        host.fetch(5)
        #expect(
            try await host.answer(5).failure?.message
                .hasPrefix("Cannot perform I/O on behalf of a different request.") == true)
    }

    // MARK: Ends

    @Test func `cancels the task of a client that left, and its calls`() async throws {
        let host = try await FakeHost { _, env, context in
            do { _ = try await env.call(.kvGet) } catch {
                context.log.info("\(error is CancellationError) \(Task.isCancelled)")
                throw error
            }
            return .text("")
        }
        host.fetch(3)
        let call = try await host.next()
        host.reset(3)
        #expect(try await host.next { $0.kind == .reset }.stream == call.stream)
        #expect(try Call(try await host.next()).log?.text == "true true")
        let end = try await host.next()
        #expect(end.kind == .end && end.stream == 3, "the node learns that the handler has ended")
        host.event(.health, 5)
        #expect(try await host.next().stream == 5, "a cancelled event isn't answered")
    }

    @Test func `keeps waitUntil work going behind the response`() async throws {
        let host = try await FakeHost { _, env, context in
            context.waitUntil { _ = try await env.call(.kvPut) }
            return .text("early")
        }
        host.fetch(3)
        let first = try await host.next()
        let waiting = try #require(try first.stream == 3 ? nil : Call(first))
        #expect(waiting.kind == .waitUntil && waiting.binding == 0xFFFF && waiting.parent == 3)
        #expect(try await host.answer(3).text == "early")
        let call = try await host.next()
        #expect(try Call(call).kind == .kvPut)
        host.send(.open, call.stream, [0], flags: .end)
        let end = try await host.next()
        #expect(end.kind == .end && end.stream == first.stream)
    }

    @Test func `probe 10: cancels waitUntil work when its time is over, with a warning`() async throws {
        let host = try await FakeHost { _, _, context in
            context.waitUntil {
                do { try await context.sleep(for: .seconds(3600)) } catch {
                    context.log.info("cancelled")
                    throw error
                }
            }
            return .text("")
        }
        host.fetch(3)
        let waiting = try await host.next()
        #expect(try Call(waiting).kind == .waitUntil)
        host.reset(waiting.stream)
        let warning = try #require(try Call(try await host.next { $0.stream & 1 == 0 }).log)
        #expect(warning.level == Log.Level.warn.rawValue)
        #expect(warning.text.hasPrefix("waitUntil() tasks did not complete within the allowed time"))
        #expect(try Call(try await host.next()).log?.text == "cancelled")
    }

    @Test func `lets waitUntil work go on when the client has left`() async throws {
        let host = try await FakeHost { _, env, context in
            context.waitUntil {
                _ = try await env.call(.kvGet)
                context.log.info("went on")
            }
            _ = try await env.call(.kvPut)
            return .text("")
        }
        host.fetch(3)
        var work: UInt32 = 0
        for _ in 0..<2 {
            let call = try await host.next()
            if try Call(call).kind == .kvGet { work = call.stream }
        }
        host.reset(3)
        _ = try await host.next { (try? Call($0).kind) == .waitUntil }
        host.send(.open, work, [0], flags: .end)
        let log = try await host.next { (try? Call($0).log) != nil }
        #expect(try Call(log).log?.text == "went on")
    }

    @Test func `probe 4: ends an event that nothing can resume`() async throws {
        let host = try await FakeHost { request, _, _ in
            if request.path == "/hang" {
                await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                    leaked.withLock { $0.append(continuation) }
                }
            }
            return .text("fine")
        }
        host.fetch(3, "/hang")
        let answer = try await host.answer(3)
        #expect(answer.resetCode == 4)
        #expect(answer.resetMessage.contains("detected that your Worker's code had hung"))
        host.fetch(5)
        #expect(try await host.answer(5).text == "fine")
    }

    @Test func `takes no event for hung that waits for a call, a timer or a helper thread`() async throws {
        let clock = VirtualClock()
        let host = try await FakeHost(clock: clock) { request, env, context in
            switch request.path {
            case "/call": _ = try await env.call(.kvGet)
            case "/timer":
                context.log.info("sleeping")
                try await Task.sleep(for: .seconds(86_400))
            default:
                let value = try await Blocking.run {
                    gate.wait(upTo: .seconds(30))
                    return 7
                }
                return .text("\(value)")
            }
            return .text("fine")
        }
        host.fetch(3, "/call")
        let call = try await host.next()
        clock.advance(by: .seconds(10))
        host.send(.open, call.stream, [0], flags: .end)
        #expect(try await host.answer(3).text == "fine")
        host.fetch(5, "/timer")
        #expect(try Call(try await host.next()).log?.text == "sleeping")
        clock.advance(by: .seconds(86_400))
        #expect(try await host.answer(5).text == "fine")
        host.fetch(7, "/blocking")
        clock.advance(by: .seconds(10))
        gate.signal()
        #expect(try await host.answer(7).text == "7")
    }

    @Test func `ends an event that yields for ever, and goes on with others`() async throws {
        let host = try await FakeHost(configuration: .test(cpuLimitNanoseconds: 1_000_000)) { request, _, _ in
            while request.path == "/burn" { await Task.yield() }
            return .text("fine")
        }
        host.fetch(3, "/burn")
        let answer = try await host.answer(3)
        #expect(answer.resetCode == 2 && answer.resetMessage == "Worker exceeded CPU time limit.")
        host.fetch(5)
        #expect(try await host.answer(5).text == "fine")
    }

    @Test func `ends when its channel does`() async throws {
        let host = try await FakeHost(channelCount: 2) { _, _, _ in .text("") }
        host.close(channel: 1)
        #expect(await host.outcome() == .channelClosed)
    }

    @Test func `finishes open work before it shuts down`() async throws {
        let host = try await FakeHost { _, env, _ in
            _ = try await env.call(.kvGet)
            return .text("finished")
        }
        host.fetch(3)
        let call = try await host.next()
        host.event(.shutdown, 5)
        let reply = try await host.next()
        #expect(reply.stream == 5 && reply.payload == [0])
        host.send(.open, call.stream, [0], flags: .end)
        #expect(try await host.answer(3).text == "finished")
        #expect(await host.outcome() == .shutDown)
    }

    @Test func `answers on the channel that an event came through`() async throws {
        let host = try await FakeHost(channelCount: 2) { request, env, _ in
            .text(
                String(decoding: try await env.call(.kvGet, Array(request.path.utf8)).message, as: UTF8.self))
        }
        host.fetch(3, "/zero", channel: 0)
        host.fetch(3, "/one", channel: 1)
        for channel in 0..<2 {
            let call = try await host.next(channel: channel)
            host.send(.open, call.stream, [0] + (try Call(call).message), flags: .end, channel: channel)
        }
        #expect(try await host.answer(3, channel: 1).text == "/one")
        #expect(try await host.answer(3, channel: 0).text == "/zero")
    }

    @Test(arguments: [
        ("unknown kind", [0, 0, 0, 0, 9, 0, 0, 0, 3, 0, 0, 0] as [UInt8]),
        ("reserved bits", [0, 0, 0, 0, 3, 0, 1, 0, 3, 0, 0, 0]),
        ("stream zero", [0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]),
        ("payload too large", [0xFF, 0xFF, 0xFF, 0, 1, 0, 0, 0, 3, 0, 0, 0]),
        ("event without a kind", [0, 0, 0, 0, 1, 1, 0, 0, 3, 0, 0, 0]),
        ("event of unknown kind", [2, 0, 0, 0, 1, 1, 0, 0, 3, 0, 0, 0, 99, 0]),
        ("binding call from the node", [2, 0, 0, 0, 1, 1, 0, 0, 3, 0, 0, 0, 64, 0]),
        ("fetch without a message", [2, 0, 0, 0, 1, 1, 0, 0, 3, 0, 0, 0, 2, 0]),
        ("reply on a stream that was never opened", [1, 0, 0, 0, 1, 1, 0, 0, 8, 0, 0, 0, 0]),
        ("second configuration", [2, 0, 0, 0, 1, 1, 0, 0, 3, 0, 0, 0, 1, 0]),
        ("reset without a code", [1, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 0]),
    ])
    func `ends at what a node never sends`(_ name: String, _ bytes: [UInt8]) async throws {
        let host = try await FakeHost { _, _, _ in .text("") }
        host.sendRaw(bytes)
        guard case .malformed = await host.outcome() else {
            Issue.record("\(name) was accepted")
            return
        }
    }

    @Test func `drops frames that come late for a closed stream`() async throws {
        let host = try await FakeHost { _, _, _ in .text("fine") }
        host.fetch(3, method: 3, bodyLength: -1)
        #expect(try await host.answer(3).text == "fine")
        host.send(.data, 3, [1, 2, 3])
        host.credit(100, 3)
        host.send(.end, 3)
        host.reset(3)
        host.fetch(5)
        #expect(try await host.answer(5).text == "fine")
    }

    @Test func `reads frames that arrive a byte at a time`() async throws {
        let host = try await FakeHost { _, _, _ in .text("fine") }
        var buffer = ByteBuffer()
        let message = [2, 0] + FakeHost.fetchMessage("/")
        buffer.append(FrameHeader(.open, stream: 3, flags: .end, payloadByteCount: message.count))
        buffer.append(message)
        for byte in unsafe buffer.withReadable({ unsafe Array($0) }) { host.sendRaw([byte]) }
        #expect(try await host.answer(3).text == "fine")
    }

    // MARK: Log and accounts

    @Test func `sends structured log lines without an answer`() async throws {
        let host = try await FakeHost { _, _, context in
            context.log.warn("low", ["left": "3", "of": "10"])
            return .text("")
        }
        host.fetch(3)
        let frame = try await host.next()
        let call = try Call(frame)
        #expect(frame.isEnd && call.parent == 3)
        #expect(call.log == LogMessage(level: 3, text: "low", fields: [("left", "3"), ("of", "10")]))
    }

    @Test func `cuts a flood of log lines off, once`() async throws {
        let line = String(repeating: "x", count: 1000)
        let host = try await FakeHost { _, _, context in
            for _ in 0..<100_000 { context.log.info(line) }
            return .text("done")
        }
        host.fetch(3)
        var lines = 0
        var notes = 0
        while true {
            let frame = try await host.next()
            if frame.stream == 3 { break }
            let log = try #require(try Call(frame).log)
            if log.text == line { lines += 1 } else { notes += 1 }
        }
        #expect(lines == Invocation.logBytesMax / 1032 && notes == 1)
    }

    @Test func `tells the watchdog whose code runs and for how long`() async throws {
        let host = try await FakeHost { _, env, _ in
            var sum = 0
            for number in 0..<100_000 { sum &+= number &* sum | 1 }
            _ = try await env.call(.kvGet, [UInt8(truncatingIfNeeded: sum)])
            return .text("")
        }
        host.fetch(9)
        let call = try await host.next()
        host.send(.open, call.stream, [0], flags: .end)
        _ = try await host.answer(9)
        host.event(.health, 11)
        _ = try await host.next()
        let page = StatusSnapshot(host.statusDescriptor)
        #expect(page.turn > 0 && page.turn.isMultiple(of: 2))
        #expect(page.stream == 9 && page.channel == 0 && page.nanoseconds > 1000)
    }
}

private let leaked = Mutex<[CheckedContinuation<Void, Never>]>([])
private let gate = EventCounter()

extension FakeHost.Frame {
    fileprivate var dataCount: Int { kind == .data ? payload.count : 0 }
}

private func replyHead(status: UInt16, bodyLength: Int64) -> [UInt8] {
    var encoder = WireEncoder()
    encoder.put(status)
    encoder.put(1 as UInt8)
    encoder.put(bodyLength)
    encoder.put(0 as UInt32)
    encoder.put(0 as UInt16)
    return encoder.bytes
}
