import Interfaces
import Testing
import Wire

private enum Heard: Equatable {
    case message(SocketRecord.Kind, [UInt8], isFinal: Bool)
    case close(SocketClose)
    case failure(WireError)
}

private func hear(_ pieces: [[UInt8]]) -> [Heard] {
    var reader = SocketRecordReader()
    var heard: [Heard] = []
    var current: (kind: SocketRecord.Kind, bytes: [UInt8], isFinal: Bool)?
    for piece in pieces {
        var offset = 0
        do throws(WireError) {
            while let step = try reader.next(unsafe piece.span.bytes, from: &offset) {
                switch step {
                case .message(let kind, _, let isFinal): current = (kind, [], isFinal)
                case .payload(let range, let isLast):
                    current?.bytes += piece[range]
                    guard isLast, let whole = current else { continue }
                    heard.append(.message(whole.kind, whole.bytes, isFinal: whole.isFinal))
                    current = nil
                case .close(let close): heard.append(.close(close))
                }
            }
        } catch {
            return heard + [.failure(error)]
        }
    }
    return heard
}

private func bytes(_ write: (inout ByteBuffer) -> Void) -> [UInt8] {
    var buffer = ByteBuffer()
    write(&buffer)
    return unsafe buffer.withReadable { unsafe Array($0) }
}

@Suite struct `Socket records` {
    private static let conversation = bytes { buffer in
        let messages: [(SocketRecord.Kind, String, Bool)] = [
            (.text, "one", true), (.binary, "", true), (.text, "in ", false), (.text, "two", true),
        ]
        for (kind, text, isFinal) in messages {
            buffer.appendSocketHeader(kind, byteCount: text.utf8.count, isFinal: isFinal)
            buffer.append(text)
        }
        buffer.appendSocketClose(SocketClose(code: 4001, reason: "größer"))
    }
    private static let meant: [Heard] = [
        .message(.text, Array("one".utf8), isFinal: true), .message(.binary, [], isFinal: true),
        .message(.text, Array("in ".utf8), isFinal: false), .message(.text, Array("two".utf8), isFinal: true),
        .close(SocketClose(code: 4001, reason: "größer")),
    ]

    @Test func `are read however they were split`() {
        let all = Self.conversation
        #expect(hear([all]) == Self.meant)
        #expect(hear(all.map { [$0] }) == Self.meant)
        for cut in 1..<all.count { #expect(hear([Array(all[..<cut]), Array(all[cut...])]) == Self.meant, "cut at \(cut)") }
    }

    @Test func `of a close keep what a Close frame can hold`() {
        let long = SocketClose(code: nil, reason: String(repeating: "ö", count: 100), wasClean: false)
        #expect(
            hear([bytes { $0.appendSocketClose(long) }])
                == [.close(SocketClose(code: nil, reason: String(repeating: "ö", count: 61), wasClean: false))])
    }

    @Test(
        arguments: [
            [0, 1, 0, 0, 0, 0], [3, 1, 0, 0, 0, 0], [1, 4, 0, 0, 0, 0], [8, 1, 1, 0, 0, 0], [8, 1, 126, 0, 0, 0],
            [8, 1, 3, 0, 0, 0, 0, 0, 0xFF],
        ] as [[UInt8]])
    func `that nobody writes are refused`(record: [UInt8]) {
        guard case .failure? = hear([record]).last else {
            Issue.record("\(record) was taken for \(hear([record]))")
            return
        }
    }

    @Test func `end with a close`() {
        guard case .failure? = hear([Self.conversation + [1]]).last else {
            Issue.record("a byte behind the close was taken")
            return
        }
    }
}
