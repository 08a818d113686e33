"""The rules of docs/architecture.md that a machine can hold: arrows between rooms, one owner per C module, no traps on
purpose, and what may lie at the top of the repository.

Usage: python3 scripts/check-rules.py      prints each violation as PATH:LINE: what; exit code 1 when there is one
"""

import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
IMPORT = re.compile(
    r"^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:public|package|internal|fileprivate|private)?\s*import\s+"
    r"(?:(?:struct|class|enum|protocol|func|var|let|typealias)\s+)?(\w+)")
# Come with the toolchain.
TOOLCHAIN = {"Glibc", "Swift", "Synchronization", "Dispatch", "Foundation", "FoundationEssentials", "Testing",
             "_Concurrency"}
# Rooms that do without FoundationEssentials as well; the whole of Foundation is nobody's (its start-up is several times slower).
NO_FOUNDATION = {"Wire", "HTTP", "Host", "Isolates", "System"}

# The arrows: a room of the layer on the left may use rooms of the layers on the right, and of its own.
LAYERS = {
    "CLI": {"edge"},
    "Deploy": {"Releases", "ControlPlane", "S3"},
    "Host": {"Host", "Isolates"},
    "Configuration": {"Configuration"},
    "Engines": {
        "StoresCache", "StoresKV", "StoresD1", "StoresR2", "StoresQueues", "StoresRateLimits", "StoresAnalytics",
        "StoresObjects", "StoresSimulation",
    },
    "Stores": {"Stores"},
    "Workers": {"Workers", "WorkersCrypto", "DurableObjects"},
    "Interfaces": {"Interfaces"},
    "Assets": {"Assets"},
    "HTTP": {"HTTP", "Caching"},
    "Observability": {"Observability"},
    "Wire": {"Wire"},
    "System": {
        "System", "SQLite", "LMDB", "OpenSSL", "TLS", "Curl", "Crypt", "Seccomp", "Zlib", "Brotli", "HTTP2", "XML",
    },
    "TenantSQL": {"TenantSQL"},
}
ARROWS = {
    "CLI": {"Deploy", "Host", "Configuration", "HTTP", "Observability", "System"},
    "Deploy": {
        "Host", "Configuration", "Engines", "Stores", "Interfaces", "Assets", "HTTP", "Observability", "Wire", "System",
    },
    "Host": {"Stores", "Interfaces", "Assets", "HTTP", "Observability", "Wire", "System"},
    "Configuration": {"HTTP", "System"},
    "Engines": {"Stores", "TenantSQL", "Interfaces", "HTTP", "Observability", "Wire", "System"},
    "Stores": {"Interfaces", "HTTP", "Observability", "System"},
    "Handlers": {"Handlers", "Workers", "Interfaces"},
    "Workers": {"TenantSQL", "Interfaces", "HTTP", "Wire", "System"},
    "Interfaces": {"HTTP", "Wire"},
    "Assets": {"HTTP"},
    "HTTP": {"Wire"},
    "Observability": {"System"},
    "Wire": set(),
    "TenantSQL": {"System"},
    "System": set(),
}
TOP_LEVEL = {
    ".ci", ".git", ".gitignore", ".swift-format", "Benchmarks", "CONTRIBUTING.md", "Examples", "LICENSE", "Makefile",
    "Package.swift", "README.md",
    "Sources", "Tests", "docs", "environments", "migrations", "scripts", "wrangler-like.toml",
}
TRAPS = [
    (re.compile(r"\btry!"), "try!"),
    (re.compile(r"\bas!"), "as!"),
    (re.compile(r"\bfatalError\b"), "fatalError"),
    (re.compile(r"(?<=[\w\)\]])!(?=[\.\)\],\s]|$)(?!\s*=)"), "a forced unwrap"),
    (re.compile(r":\s*\w[\w.<>\[\]]*!\s*(?:=|$|\{)"), "an implicitly unwrapped optional"),
]

problems = []


def report(path, line, what):
    problems.append(f"{os.path.relpath(path, ROOT)}:{line}: {what}")


def swift_files(folder, excluded=()):
    for directory, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if os.path.join(directory, f) not in excluded)
        for name in sorted(files):
            if name.endswith(".swift"):
                yield os.path.join(directory, name)


def strip(source):
    """The source with comments and texts blanked, lines kept."""
    out = []
    index = 0
    depth = 0
    while index < len(source):
        if source.startswith("//", index):
            end = source.find("\n", index)
            index = len(source) if end < 0 else end
        elif source.startswith("/*", index):
            depth = 1
            index += 2
            while index < len(source) and depth:
                if source.startswith("/*", index):
                    depth += 1
                    index += 2
                elif source.startswith("*/", index):
                    depth -= 1
                    index += 2
                else:
                    out.append("\n" if source[index] == "\n" else "")
                    index += 1
        elif source[index] == '"' or (source[index] == "#" and re.match(r'#+"', source[index:index + 8])):
            hashes = re.match(r"#*", source[index:]).group()
            quotes = '"""' if source.startswith('"""', index + len(hashes)) else '"'
            start = index + len(hashes) + len(quotes)
            close = quotes + hashes
            escape = "\\" + hashes
            position = start
            while position < len(source) and not source.startswith(close, position):
                if source.startswith(escape, position):
                    position += len(escape)
                    if position < len(source) and source[position] == "(":
                        level = 0
                        while position < len(source):
                            level += {"(": 1, ")": -1}.get(source[position], 0)
                            position += 1
                            if level == 0:
                                break
                        continue
                elif quotes == '"' and source[position] == "\n":
                    break
                position += 1
            end = min(len(source), position + len(close))
            out.append('""' + "\n" * source.count("\n", index, end))
            index = end
        else:
            out.append(source[index])
            index += 1
    return "".join(out)


def load_targets():
    """The targets of Package.swift, as the package manager reads them."""
    text = subprocess.run(
        ["swift", "package", "--package-path", ROOT, "describe", "--type", "json"], capture_output=True, text=True)
    if text.returncode != 0:
        sys.exit(f"check: Package.swift can't be read:\n{text.stderr}")
    return json.loads(text.stdout)["targets"]


def layer_of(target):
    for layer, rooms in LAYERS.items():
        if target["name"] in rooms:
            return layer
    # Examples are what a tenant writes.
    return "Handlers" if target["path"].startswith(("Sources/Handlers/", "Examples/")) else None


def check_arrows(targets):
    by_name = {target["name"]: target for target in targets}
    owners = {}
    for target in targets:
        if target["module_type"] != "SwiftTarget":
            continue
        folder = os.path.join(ROOT, target["path"])
        # The package manager lists what belongs to a target, without the folders of others inside it.
        files = [os.path.join(folder, source) for source in target["sources"]]
        declared = set(target.get("target_dependencies", []))
        # Tests and benchmarks look where they want; nothing depends on them.
        is_test = target["path"].startswith(("Tests/", "Benchmarks/"))
        layer = layer_of(target)
        if layer is None and not is_test:
            report(folder, 0, f"{target['name']} has no place in the table of layers (scripts/check-rules.py)")
        for path in files:
            with open(path, encoding="utf-8") as file:
                text = strip(file.read())
            for number, line in enumerate(text.splitlines(), 1):
                match = IMPORT.match(line)
                if not match or match.group(1) == target["name"]:
                    continue
                module = match.group(1)
                if module in TOOLCHAIN:
                    if not is_test and (
                            module == "Foundation" or module.startswith("Foundation") and target["name"] in NO_FOUNDATION):
                        report(path, number, f"{target['name']} does without {module}")
                    continue
                if module not in by_name:
                    report(path, number, f"imports {module}, which is no target and not of the toolchain")
                    continue
                if module not in declared:
                    report(path, number, f"imports {module}, which Package.swift does not declare for {target['name']}")
                if by_name[module]["module_type"] in ("SystemLibraryTarget", "ClangTarget"):
                    if not is_test:
                        owners.setdefault(module, set()).add(target["name"])
                elif layer and not is_test:
                    other = layer_of(by_name[module])
                    if other != layer and other not in ARROWS[layer]:
                        report(path, number, f"{target['name']} ({layer}) must not use {module} ({other})")
    for module, rooms in sorted(owners.items()):
        # CLinux is the kernel's own header: System and Isolates (which spawns) share it, and sendfile in Host comes with it.
        if module != "CLinux" and len(rooms) > 1:
            problems.append(f"{module} has several owners: {', '.join(sorted(rooms))}")


def check_traps():
    for path in [*swift_files(os.path.join(ROOT, "Sources")), *swift_files(os.path.join(ROOT, "Examples"))]:
        with open(path, encoding="utf-8") as file:
            source = file.read()
        original = source.splitlines()
        for number, line in enumerate(strip(source).splitlines(), 1):
            for pattern, name in TRAPS:
                if pattern.search(line):
                    report(path, number, f"{name}: {original[number - 1].strip()}")


def check_top_level():
    listed = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True)
    if listed.returncode != 0:
        return  # Not a clone: an archive has nothing that was left behind.
    for name in sorted({line.split("/")[0] for line in listed.stdout.splitlines()} - TOP_LEVEL):
        problems.append(f"{name}: nothing else lies at the top of the repository (scripts/check-rules.py)")


def main():
    targets = load_targets()
    check_arrows(targets)
    check_traps()
    check_top_level()
    for problem in problems:
        print(problem)
    if problems:
        print(f"check: {len(problems)} violations of the rules", file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
