/// How an import or an export goes.
package struct D1TransferStatus: Sendable, Equatable {
    package enum Phase: String, Sendable { case active, complete, error }
    package var phase: Phase
    package var messages: [String] = []
    /// Of a complete one: the state that an export shows, or that an import made.
    package var bookmark: String?
    /// Of an import that is complete.
    package var imported: D1Imported?
    /// Of an export that is complete: its file's name.
    package var fileName: String?
    /// Why it failed, or that there is none.
    package var error: String?

    /// `false` when it failed.
    package var success: Bool { phase != .error }
}

/// What an import begins with.
package enum D1ImportStart: Sendable, Equatable {
    /// The file is to be sent under this name.
    case upload(String)
    /// The file was sent before.
    case underWay(D1TransferStatus)
}

/// Why a transfer can't begin, with the code that REST gives it.
package enum D1TransferError: Error, Sendable, Equatable, CustomStringConvertible {
    case invalid(String)
    /// No file has that name, or its hour is over.
    case noFile(String)
    case tooMany(Int)
    case failed(D1Failure)

    package var code: Int {
        switch self {
        case .invalid: 7400
        case .noFile: 7404
        case .tooMany, .failed: 7500
        }
    }

    package var description: String {
        switch self {
        case .invalid(let reason): reason
        case .noFile(let name): "The file \(D1Failure.shortened(name)) could not be found"
        case .tooMany(let count): "\(count) files of imports and exports are kept already; try again in an hour"
        case .failed(let failure): failure.text
        }
    }
}
