// A worker's runtime without the worker: shows that Swift's own machinery lives inside the sandbox.
internal import Dispatch
internal import FoundationEssentials
internal import Glibc

struct Message: Codable { var text: String }

func say(_ line: String) {
    var line = line + "\n"
    line.withUTF8 { bytes in _ = unsafe write(3, bytes.baseAddress, bytes.count) }
}

switch CommandLine.arguments.first {
case "swift":
    let json = try JSONEncoder().encode(Message(text: "JSON"))
    say("json \(json.count)")
    let doubled = await withTaskGroup(of: Int.self) { group in
        for number in 1...10 { group.addTask { number * 2 } }
        var sum = 0
        for await number in group { sum += number }
        return sum
    }
    say("tasks \(doubled)")
    let done = DispatchSemaphore(value: 0)
    DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(1)) { done.signal() }
    done.wait()
    say("dispatch 1")
    // Dispatch looks at its threads whenever it is short of them; a thousand pieces of work make it
    // look.
    DispatchQueue.concurrentPerform(iterations: 64) { _ in usleep(200) }
    let group = DispatchGroup()
    for _ in 0..<1000 { DispatchQueue.global().async(group: group) { usleep(50) } }
    group.wait()
    say("dispatch 1000")
    try await Task.sleep(nanoseconds: 1_000_000)
    say("sleep \(Date().timeIntervalSince1970 > 0 ? 1 : 0)")
    say("random \(UInt64.random(in: 1...9) > 0 ? 1 : 0)")
    say("file \(FileManager.default.contents(atPath: "/etc/passwd") == nil ? "refused" : "read")")
    say("done 0")
case "trap":
    fatalError("on purpose")
default: break
}
