internal import Workers

/// What all objects of an isolate share.
final class ObjectEnvironment {
    let durability = DurabilityThread()

    /// Where an object's file is: below a folder of its first two digits, which the node has made.
    func path(of name: String, in directory: String) -> String { "\(directory)/\(name.prefix(2))/\(name).sqlite" }
}
