internal import HTTP
internal import Interfaces
internal import XML

/// A bucket's lifecycle rules as S3 writes them.
enum LifecycleDocument {
    // MARK: Writing

    static func write(_ rules: [R2LifecycleRule]) -> XMLDocument {
        XMLDocument("LifecycleConfiguration") { xml in
            for rule in rules {
                xml.element("Rule") { xml in
                    xml.element("ID", rule.id)
                    xml.element("Status", rule.isEnabled ? "Enabled" : "Disabled")
                    xml.element("Filter") { $0.element("Prefix", rule.prefix) }
                    if let condition = rule.deleteObjectsTransition?.condition {
                        xml.element("Expiration") { write(condition, "Days", &$0) }
                    }
                    if let condition = rule.abortMultipartUploadsTransition?.condition {
                        xml.element("AbortIncompleteMultipartUpload") { write(condition, "DaysAfterInitiation", &$0) }
                    }
                    for transition in rule.storageClassTransitions ?? [] {
                        xml.element("Transition") { xml in
                            write(transition.condition, "Days", &xml)
                            xml.element("StorageClass", "STANDARD_IA")
                        }
                    }
                }
            }
        }
    }

    private static func write(_ condition: R2LifecycleRule.Condition, _ days: String, _ xml: inout XMLDocument) {
        switch condition {
        // Begun days count: S3 knows none but whole ones.
        case .age(let seconds): xml.element(days, (seconds + 86_399) / 86_400)
        case .date(let time): xml.element("Date", InternetTimestamp.text(milliseconds: time))
        }
    }

    // MARK: Reading

    static func read(_ root: XMLElement) throws(S3Error) -> [R2LifecycleRule] {
        let rules = root.children("Rule")
        guard !rules.isEmpty else { throw .malformedXML }
        var read: [R2LifecycleRule] = []
        for (index, element) in rules.enumerated() { read.append(try rule(element, number: index + 1)) }
        return read
    }

    private static let known: Set<String> = [
        "ID", "Status", "Filter", "Prefix", "Expiration", "AbortIncompleteMultipartUpload", "Transition",
    ]

    private static func rule(_ element: XMLElement, number: Int) throws(S3Error) -> R2LifecycleRule {
        for child in element.children where !known.contains(child.name) {
            throw .notImplemented("Lifecycle rules with \(child.name)")
        }
        let isEnabled: Bool
        switch element.child("Status")?.trimmedText {
        case "Enabled": isEnabled = true
        case "Disabled": isEnabled = false
        default: throw .malformedXML
        }
        var rule = R2LifecycleRule(
            id: element.text(of: "ID") ?? "rule-\(number)", isEnabled: isEnabled, prefix: try prefix(element))
        if let expiration = element.child("Expiration") {
            rule.deleteObjectsTransition = .init(try condition(expiration, "Days"))
        }
        if let abort = element.child("AbortIncompleteMultipartUpload") {
            rule.abortMultipartUploadsTransition = .init(try condition(abort, "DaysAfterInitiation"))
        }
        let transitions = try element.children("Transition").map { transition throws(S3Error) in
            guard transition.child("StorageClass")?.trimmedText == "STANDARD_IA" else {
                throw S3Error("InvalidStorageClass", 400, "The storage class you specified is not valid")
            }
            return R2LifecycleRule.StorageClassTransition(try condition(transition, "Days"))
        }
        if !transitions.isEmpty { rule.storageClassTransitions = transitions }
        return rule
    }

    private static func prefix(_ element: XMLElement) throws(S3Error) -> String? {
        guard let filter = element.child("Filter") else { return element.text(of: "Prefix") }
        for child in filter.children where child.name != "Prefix" {
            throw .notImplemented("Lifecycle filters with \(child.name)")
        }
        return filter.text(of: "Prefix")
    }

    private static func condition(_ element: XMLElement, _ days: String) throws(S3Error) -> R2LifecycleRule.Condition {
        guard element.children.count(where: { $0.name != "StorageClass" }) == 1 else { throw .malformedXML }
        if let text = element.child(days)?.trimmedText {
            guard let count = Int64(text), count > 0, count <= 100 * 366 else {
                throw .invalidArgument("'\(days)' in a lifecycle rule must be a positive integer")
            }
            return .age(seconds: count * 86_400)
        }
        guard let text = element.child("Date")?.trimmedText else {
            throw .notImplemented("Lifecycle conditions with \(element.children.first?.name ?? "nothing")")
        }
        guard let time = InternetTimestamp.milliseconds(text) else { throw .malformedXML }
        return .date(time)
    }
}
