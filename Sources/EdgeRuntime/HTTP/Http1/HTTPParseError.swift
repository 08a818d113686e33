/// Why bytes are not a message. The connection can't be trusted after one: answer with `status`, then close.
package enum HTTPParseError: UInt8, Error, CaseIterable, Sendable {
    case malformedMethod, methodTooLong, connectNotSupported
    case malformedTarget, targetTooLong, targetFormNotAllowed
    case malformedVersion, unsupportedVersion, malformedStatusLine
    case bareLineFeed, bareCarriageReturn, controlCharacter
    case leadingWhitespace, whitespaceBeforeColon, malformedFieldName
    case headTooLarge, tooManyFields, fieldNameTooLong
    case malformedContentLength, repeatedContentLength, contentLengthWithTransferEncoding
    case malformedTransferEncoding, chunkedNotLast, unsupportedTransferCoding, transferEncodingInHTTP10
    case missingHost, repeatedHost, malformedHost
    case malformedConnection, tooManyConnectionNames, unsupportedExpectation
    case malformedChunkSize, chunkTooLarge, malformedChunkExtension, chunkExtensionsTooLong, chunkOverrun
    case trailersTooLarge, tooManyTrailers

    /// What a server answers.
    package var status: Int {
        switch self {
        case .targetTooLong: 414
        case .unsupportedExpectation: 417
        case .headTooLarge, .tooManyFields, .fieldNameTooLong, .tooManyConnectionNames, .trailersTooLarge,
            .tooManyTrailers:
            431
        case .methodTooLong, .connectNotSupported, .unsupportedTransferCoding: 501
        case .unsupportedVersion: 505
        default: 400
        }
    }
}

extension HTTPParseError: CustomStringConvertible {
    /// One line for logs and for the body of the answer.
    package var description: String {
        switch self {
        case .malformedMethod: "the method is not a token followed by one space"
        case .methodTooLong: "the method is longer than any known one"
        case .connectNotSupported: "CONNECT is not supported"
        case .malformedTarget: "the request target contains a character that must be percent-encoded"
        case .targetTooLong: "the request target is too long"
        case .targetFormNotAllowed: "the request target is neither a path nor a URL that this method allows"
        case .malformedVersion: "the request line does not end in HTTP/1.1"
        case .unsupportedVersion: "only HTTP/1.0 and HTTP/1.1 are spoken here"
        case .malformedStatusLine: "the status line is malformed"
        case .bareLineFeed: "a line ends in LF without CR"
        case .bareCarriageReturn: "CR is not followed by LF"
        case .controlCharacter: "a header value contains a control character"
        case .leadingWhitespace: "a header line starts with whitespace"
        case .whitespaceBeforeColon: "whitespace stands between a header name and its colon"
        case .malformedFieldName: "a header name is not a token followed by a colon"
        case .headTooLarge: "the header section is too large"
        case .tooManyFields: "there are too many headers"
        case .fieldNameTooLong: "a header name is too long"
        case .malformedContentLength: "Content-Length is not a decimal number"
        case .repeatedContentLength: "Content-Length is given more than once"
        case .contentLengthWithTransferEncoding: "Content-Length and Transfer-Encoding are both given"
        case .malformedTransferEncoding: "Transfer-Encoding is malformed"
        case .chunkedNotLast: "chunked is not the last transfer coding, or is given more than once"
        case .unsupportedTransferCoding: "a transfer coding other than chunked is not supported"
        case .transferEncodingInHTTP10: "HTTP/1.0 has no Transfer-Encoding"
        case .missingHost: "Host is missing"
        case .repeatedHost: "Host is given more than once"
        case .malformedHost: "Host is not a host name with an optional port"
        case .malformedConnection: "Connection is not a list of tokens"
        case .tooManyConnectionNames: "Connection names too many headers"
        case .unsupportedExpectation: "only the expectation 100-continue is supported"
        case .malformedChunkSize: "a chunk size is not a hexadecimal number followed by CRLF"
        case .chunkTooLarge: "a chunk size is too large"
        case .malformedChunkExtension: "a chunk extension is malformed"
        case .chunkExtensionsTooLong: "chunk extensions are too long"
        case .chunkOverrun: "a chunk is longer than its size says"
        case .trailersTooLarge: "the trailer section is too large"
        case .tooManyTrailers: "there are too many trailers"
        }
    }
}
