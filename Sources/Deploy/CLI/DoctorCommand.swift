internal import Isolates

/// `edge doctor`: which layers of the sandbox are active on this machine.
enum DoctorCommand: Command {
    static let name = "doctor"
    static let summary = "Shows which layers of the sandbox work on this machine"
    static let discussion = """
        Prints each layer with its state, and what is lost where one is missing. Exit code 1 when isolates can't run here,
        or not safely for tenants who don't trust each other.
        """
    static let options: [Option] = [.flag("json", "prints the findings as JSON")]

    static func run(_ arguments: CommandLineArguments) async throws -> Int32 {
        let report = Doctor.examine()
        if arguments.has("json") {
            let items = report.findings.map { finding in
                "{\"layer\":\(quoted(finding.layer)),\"state\":\"\(finding.state.rawValue)\",\"detail\":\(quoted(finding.detail)),"
                    + "\"consequence\":\(quoted(finding.consequence))}"
            }
            print(
                "{\"canRun\":\(report.canRun),\"isSafeForTenants\":\(report.isSafeForTenants),\"findings\":[\(items.joined(separator: ","))]}"
            )
        } else {
            for finding in report.findings {
                let mark = finding.state == .active ? "active " : finding.state == .partial ? "partial" : "missing"
                print("\(mark)  \(finding.layer): \(finding.detail)")
                if finding.state != .active { print("         \(finding.consequence)") }
            }
            print(
                report.isSafeForTenants
                    ? "isolates of different tenants are safe from each other here"
                    : report.canRun ? "isolates run here, but with fewer walls between tenants" : "isolates can't run here")
        }
        return report.isSafeForTenants ? ExitCode.success : ExitCode.failure
    }

    private static func quoted(_ text: String) -> String {
        "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }
}
