package import Wire

/// A message as the bytes of a call, for rooms that don't speak the wire.
package protocol ObjectMessageBytes {
    func encode(into encoder: inout WireEncoder)
}

extension ObjectMessageBytes {
    package var bytes: [UInt8] {
        var encoder = WireEncoder()
        encode(into: &encoder)
        return encoder.bytes
    }
}

extension ObjectAlarmTimeMessage: ObjectMessageBytes {}
extension ObjectAbortMessage: ObjectMessageBytes {}
extension SocketSendMessage: ObjectMessageBytes {}
extension SocketCloseMessage: ObjectMessageBytes {}
extension SocketAttachmentMessage: ObjectMessageBytes {}
extension SocketAutoResponseMessage: ObjectMessageBytes {}
