internal import Interfaces
internal import Observability
internal import Wire

// What an isolate says of an error is read by others than its worker: it goes into logs, error pages and other workers.

extension CallFailure {
    func redacted(by redactor: SecretRedactor?) -> CallFailure {
        guard let redactor else { return self }
        return CallFailure(redactor.redact(message), name: redactor.redact(name), code: code)
    }
}

extension StreamReset {
    func redacted(by redactor: SecretRedactor?) -> StreamReset {
        guard let redactor else { return self }
        return StreamReset(code, redactor.redact(message))
    }
}
