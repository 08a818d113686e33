internal import CBrotli
package import System

/// Writes one brotli stream, piece by piece. One owner, one thread at a time.
@safe package final class BrotliEncoder {
    private let state: OpaquePointer
    private var room = [UInt8](repeating: 0, count: 16 << 10)

    /// - Parameters:
    ///   - quality: 0 (fast) ... 11 (small).
    ///   - windowBits: 10 ... 24: the encoder holds at least two windows in memory.
    /// - Returns: `nil` when there is no memory for it.
    package init?(quality: Int, windowBits: Int) {
        guard let state = unsafe BrotliEncoderCreateInstance(nil, nil, nil) else { return nil }
        unsafe self.state = state
        unsafe BrotliEncoderSetParameter(state, BROTLI_PARAM_QUALITY, UInt32(quality))
        unsafe BrotliEncoderSetParameter(state, BROTLI_PARAM_LGWIN, UInt32(windowBits))
    }

    /// Takes all of `bytes`, and hands to `output` what comes out, each piece valid during its call only.
    ///
    /// - Returns: false when the stream is broken; nothing more is to be asked of it.
    package func encode(
        _ bytes: UnsafeRawBufferPointer, _ step: EncodingStep, _ output: (UnsafeRawBufferPointer) -> Void
    ) -> Bool {
        let operation =
            step == .more
            ? BROTLI_OPERATION_PROCESS : step == .flush ? BROTLI_OPERATION_FLUSH : BROTLI_OPERATION_FINISH
        var left = bytes.count
        var next = unsafe bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        while true {
            let count: Int? = unsafe room.withUnsafeMutableBufferPointer { target in
                var spare = target.count
                var position = target.baseAddress
                // SAFETY: the library reads `left` bytes at most and writes `spare` at most, during the call only.
                let isDone = unsafe BrotliEncoderCompressStream(state, operation, &left, &next, &spare, &position, nil)
                return isDone != 0 ? target.count - spare : nil
            }
            guard let count else { return false }
            if count > 0 { unsafe room.withUnsafeBytes { unsafe output(UnsafeRawBufferPointer(rebasing: $0.prefix(count))) } }
            guard left == 0, unsafe BrotliEncoderHasMoreOutput(state) == 0 else { continue }
            return unsafe step != .finish || BrotliEncoderIsFinished(state) != 0
        }
    }

    deinit { unsafe BrotliEncoderDestroyInstance(state) }
}

/// Whole bodies.
package enum Brotli {
    package static func encode(_ bytes: [UInt8], quality: Int) -> [UInt8]? {
        guard let encoder = BrotliEncoder(quality: quality, windowBits: 22) else { return nil }
        var encoded: [UInt8] = []
        let isDone = unsafe bytes.withUnsafeBytes {
            unsafe encoder.encode($0, .finish) { unsafe encoded.append(contentsOf: $0) }
        }
        return isDone ? encoded : nil
    }

    /// - Returns: `nil` when `bytes` are no brotli stream, or one of more than `byteCountMax` bytes.
    package static func decode(_ bytes: [UInt8], byteCountMax: Int) -> [UInt8]? {
        var decoded = [UInt8](repeating: 0, count: byteCountMax + 1)
        var count = decoded.count
        // SAFETY: the library writes at most `count` bytes, and says how many they were.
        let result = unsafe BrotliDecoderDecompress(bytes.count, bytes, &count, &decoded)
        guard result == BROTLI_DECODER_RESULT_SUCCESS, count <= byteCountMax else { return nil }
        return Array(decoded.prefix(count))
    }
}
