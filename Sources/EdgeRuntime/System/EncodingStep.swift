/// What a compressor is to do with what it holds back, once it has taken its input.
package enum EncodingStep: Sendable {
    /// Keep it: more comes, and compresses better together.
    case more
    /// Give it out: a reader waits for what was said so far.
    case flush
    /// Give it out with the end of the stream.
    case finish
}
