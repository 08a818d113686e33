import Testing

@testable import Configuration

@Suite struct `Dotenv files` {
    private func read(_ text: String) -> (values: [String: String], places: [String]) {
        let (entries, diagnostics) = DotenvReader.read(
            SourceText(name: ".dev.vars", text: text, isConfidential: true))
        return (
            Dictionary(entries.map { ($0.key, $0.value) }) { _, last in last },
            diagnostics.map { "\($0.location?.line ?? 0):\($0.location?.column ?? 0) \($0.message)" }
        )
    }

    @Test(arguments: [
        ("A=1", ["A": "1"]), ("A = 1 # x", ["A": "1"]), ("export A=1\nB: 2", ["A": "1", "B": "2"]),
        ("A=", ["A": ""]),
        ("# A=1\n\nB=2\r\nC=3\r\n", ["B": "2", "C": "3"]), ("A='x # y'", ["A": "x # y"]),
        ("A=\"x\\ny\\tz\"", ["A": "x\ny\\tz"]),
        ("A='x\\ny'", ["A": "x\\ny"]), ("A=\"one\ntwo\" # c\nB=3", ["A": "one\ntwo", "B": "3"]),
        ("A=`q\"'q`", ["A": "q\"'q"]),
        ("A=\"say \\\"hi\\\"\"", ["A": "say \"hi\""]), ("A=1\nA=2", ["A": "2"]), ("A=a=b", ["A": "a=b"]),
        ("a.b-c=1", ["a.b-c": "1"]),
        ("A=x y  ", ["A": "x y"]), ("\u{FEFF}A=ä", ["A": "ä"]), ("export=1", ["export": "1"]),
        ("A=  \nB=1", ["A": "", "B": "1"]),
    ])
    func `reads keys, quotes, comments and lines`(_ text: String, _ values: [String: String]) {
        let result = read(text)
        #expect(result.values == values)
        #expect(result.places.isEmpty)
    }

    @Test func `names a line that is none, and reads on`() {
        let result = read("A=1\nsecret\n=x\nB=\"open\nC=2")
        #expect(result.values == ["A": "1"])
        #expect(
            result.places == [
                "2:1 expected KEY=value", "3:1 expected KEY=value", "4:3 this quote is never closed",
            ])
        #expect(read("A=\"x\" y").places == ["1:7 nothing but a comment may follow the closing quote"])
    }

    private func load(_ files: [String: String], worker: String = "api", environment: String? = nil)
        -> LocalVariables
    {
        LocalVariables.load(worker: worker, environment: environment) { name in
            files[name].map { SourceText(name: name, text: $0, isConfidential: true) }
        }
    }

    private func worker(_ text: String) throws -> WorkerConfiguration {
        let shape = Example.shape("[workers.api]\nproduct = \"A\"\n" + text)
        let project = Example.project(shape: shape, staging: nil, production: nil)
        return try #require(project.load(environment: "dev").configuration?.worker("api"))
    }

    @Test func `probe 14: the file of an environment stands instead of the common one`() throws {
        let files = [".dev.vars": "A=1", ".dev.vars.staging": "B=2", ".env": "E=3"]
        #expect(load(files, environment: "staging").values.mapValues(\.value) == ["B": "2"])
        #expect(load(files).values.mapValues(\.value) == ["A": "1"])
        #expect(load(files, environment: "other").values.mapValues(\.value) == ["A": "1"])
        let resolved = load(files, environment: "staging").resolve(try worker("vars = { A = \"var\" }\n"))
        #expect(resolved.variables.map(\.value) == [.text("var")])
    }

    @Test func `without .dev.vars the .env files are read, later over earlier`() {
        let files = [
            ".env": "A=1\nB=1\nC=1\nD=1", ".env.local": "B=2\nC=2\nD=2", ".env.staging": "C=3\nD=3",
            ".env.staging.local": "D=4",
        ]
        #expect(
            load(files, environment: "staging").values.mapValues(\.value) == [
                "A": "1", "B": "2", "C": "3", "D": "4",
            ])
        #expect(load(files).values.mapValues(\.value) == ["A": "1", "B": "2", "C": "2", "D": "2"])
        #expect(
            load(files, environment: "staging").files == [
                ".env", ".env.local", ".env.staging", ".env.staging.local",
            ])
    }

    @Test func `a worker's own file comes last`() {
        let files = [".dev.vars": "A=1\nB=1", ".dev.vars.api": "B=2"]
        #expect(load(files).values.mapValues(\.value) == ["A": "1", "B": "2"])
        #expect(load(files, worker: "other").values.mapValues(\.value) == ["A": "1", "B": "1"])
    }

    @Test func `a worker gets its declared secrets and overridden variables, and no others`() throws {
        let variables = load([".dev.vars": "KEY=k\nOTHER=o\nN=7"])
        let resolved = variables.resolve(
            try worker("secrets = [\"KEY\", \"GONE\"]\nvars = { N = 5, M = 6 }\n"))
        #expect(resolved.secrets.map(\.name) == ["KEY"])
        #expect(resolved.secrets.map(\.value) == ["k"])
        #expect(resolved.variables.map(\.value) == [.text("7"), .json("6")])
        #expect(resolved.warning == "Missing required secrets: GONE")
        #expect(variables.resolve(try worker("")).secrets.isEmpty)
        #expect(
            variables.resolve(try worker(""), declaredOnly: false).secrets.map(\.name) == [
                "KEY", "N", "OTHER",
            ])
    }
}
