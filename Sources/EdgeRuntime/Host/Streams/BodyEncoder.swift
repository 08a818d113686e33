internal import Brotli
internal import HTTP
internal import System
internal import Zlib

/// Compresses one answer's body on its way out. Reactor thread only; it is given `stepByteCount` at a time.
final class BodyEncoder {
    private enum Engine {
        case gzip(GzipEncoder)
        case brotli(BrotliEncoder)
    }
    private let engine: Engine
    private let reactor: Reactor
    private let units: Int
    /// Bytes that are still to come, when it was said how many.
    private var left: Int?
    /// Whether something was taken that the client doesn't have yet.
    private(set) var holdsBack = false

    /// What a compressor does in about a millisecond.
    static let stepByteCount = 64 << 10
    /// A unit is 256 KiB, what gzip takes; brotli with its window takes four. Beyond, bodies go out as they are.
    private static let unitsMax = 512
    /// The fast levels: what follows costs several times the time for a few percent.
    private static let gzipLevel = 4
    private static let brotliQuality = 4
    private static let brotliWindowBits = 17

    /// - Parameter byteCount: of the body as it comes; `nil` when only its end tells.
    /// - Returns: `nil` when the reactor's compressors hold as much as they may.
    init?(_ coding: ContentCoding, byteCount: Int?, on reactor: Reactor) {
        let units = coding == .brotli ? 4 : 1
        guard reactor.encoderUnits + units <= Self.unitsMax else { return nil }
        switch coding {
        case .gzip:
            guard let encoder = GzipEncoder(level: Self.gzipLevel) else { return nil }
            engine = .gzip(encoder)
        case .brotli:
            guard let encoder = BrotliEncoder(quality: Self.brotliQuality, windowBits: Self.brotliWindowBits) else {
                return nil
            }
            engine = .brotli(encoder)
        }
        self.units = units
        self.reactor = reactor
        left = byteCount
        reactor.encoderUnits += units
    }

    /// - Returns: false when these are more bytes than were announced.
    func take(_ bytes: UnsafeRawBufferPointer, _ output: (UnsafeRawBufferPointer) -> Void) -> Bool {
        if let left {
            guard bytes.count <= left else { return false }
            self.left = left - bytes.count
        }
        holdsBack = true
        return unsafe encode(bytes, .more, output)
    }

    func flush(_ output: (UnsafeRawBufferPointer) -> Void) -> Bool {
        holdsBack = false
        return unsafe encode(UnsafeRawBufferPointer(start: nil, count: 0), .flush, output)
    }

    /// - Returns: false when bytes are missing.
    func finish(_ output: (UnsafeRawBufferPointer) -> Void) -> Bool {
        holdsBack = false
        guard left ?? 0 == 0 else { return false }
        return unsafe encode(UnsafeRawBufferPointer(start: nil, count: 0), .finish, output)
    }

    private func encode(
        _ bytes: UnsafeRawBufferPointer, _ step: EncodingStep, _ output: (UnsafeRawBufferPointer) -> Void
    ) -> Bool {
        switch engine {
        case .gzip(let encoder): unsafe encoder.encode(bytes, step, output)
        case .brotli(let encoder): unsafe encoder.encode(bytes, step, output)
        }
    }

    deinit { reactor.encoderUnits -= units }
}
