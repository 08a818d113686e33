internal import CExpat

package enum XMLError: Error, Equatable, Sendable {
    /// It is no well-formed document of XML 1.0; the line counts from 1.
    case malformed(reason: String, line: Int)
    /// It has a document type.
    case documentType
    case tooDeep(limit: Int)
    case tooManyElements(limit: Int)
}

package enum XMLReader {
    /// Reads a document, which the caller has bounded in length.
    ///
    /// - Returns: its root.
    package static func read(
        _ bytes: [UInt8], depthMax: Int = 16, elementsMax: Int = 100_000
    ) throws(XMLError) -> XMLElement {
        guard let parser = unsafe XML_ParserCreate(nil), bytes.count <= Int(Int32.max) else {
            preconditionFailure("libexpat makes no parser only when memory is exhausted; bodies are bounded")
        }
        defer { unsafe XML_ParserFree(parser) }
        let tree = XMLTree(depthMax: depthMax, elementsMax: elementsMax)
        let isWhole = unsafe parse(bytes, with: parser, into: tree)
        if let failure = tree.failure { throw failure }
        guard isWhole, let root = tree.root else {
            let reason = unsafe XML_ErrorString(XML_GetErrorCode(parser)).map { unsafe String(cString: $0) }
            throw .malformed(reason: reason ?? "no document", line: Int(unsafe XML_GetCurrentLineNumber(parser)))
        }
        return root
    }

    private static func parse(_ bytes: [UInt8], with parser: XML_Parser, into tree: XMLTree) -> Bool {
        // SAFETY: the call outlives XML_Parse; the parser calls back during that only, with the pointer that it was given.
        let call = unsafe Call(tree: tree, parser: parser)
        return withExtendedLifetime(call) {
            unsafe XML_SetUserData(parser, Unmanaged.passUnretained(call).toOpaque())
            unsafe XML_SetElementHandler(
                parser,
                { user, name, _ in
                    guard let call = unsafe Call.of(user), let name = unsafe name else { return }
                    call.tree.open(unsafe String(cString: name))
                    if call.tree.failure != nil { unsafe edge_xml_stop(call.parser) }
                },
                { user, _ in unsafe Call.of(user)?.tree.close() })
            unsafe XML_SetCharacterDataHandler(parser) { user, text, count in
                guard let call = unsafe Call.of(user), let text = unsafe text else { return }
                let bytes = unsafe UnsafeRawBufferPointer(start: text, count: Int(count))
                call.tree.append(unsafe String(decoding: bytes, as: UTF8.self))
            }
            unsafe XML_SetStartDoctypeDeclHandler(parser) { user, _, _, _, _ in
                guard let call = unsafe Call.of(user) else { return }
                call.tree.failure = .documentType
                unsafe edge_xml_stop(call.parser)
            }
            return unsafe bytes.withUnsafeBufferPointer { buffer in
                unsafe buffer.withMemoryRebound(to: CChar.self) { text in
                    unsafe edge_xml_parse_whole(parser, text.baseAddress, Int32(text.count)) != 0
                }
            }
        }
    }

    /// What the callbacks get.
    @safe private final class Call {
        let tree: XMLTree
        let parser: XML_Parser

        init(tree: XMLTree, parser: XML_Parser) {
            self.tree = tree
            unsafe self.parser = parser
        }

        static func of(_ user: UnsafeMutableRawPointer?) -> Call? {
            // SAFETY: it is the pointer of `parse`, whose object lives during the call.
            unsafe user.map { unsafe Unmanaged<Call>.fromOpaque($0).takeUnretainedValue() }
        }
    }
}

/// A tree as it grows.
private final class XMLTree {
    private let depthMax: Int
    private var elementsLeft: Int
    private let elementsMax: Int
    private var open: [XMLElement] = []
    private(set) var root: XMLElement?
    var failure: XMLError?

    init(depthMax: Int, elementsMax: Int) {
        self.depthMax = depthMax
        self.elementsMax = elementsMax
        elementsLeft = elementsMax
    }

    func open(_ name: String) {
        guard failure == nil else { return }
        guard open.count < depthMax else { return failure = .tooDeep(limit: depthMax) }
        guard elementsLeft > 0 else { return failure = .tooManyElements(limit: elementsMax) }
        elementsLeft -= 1
        open.append(XMLElement(name: name.split(separator: ":").last.map(String.init) ?? name))
    }

    func append(_ text: String) {
        guard failure == nil, let last = open.indices.last else { return }
        open[last].text += text
    }

    func close() {
        guard failure == nil, let element = open.popLast() else { return }
        if let last = open.indices.last { open[last].children.append(element) } else { root = element }
    }
}
