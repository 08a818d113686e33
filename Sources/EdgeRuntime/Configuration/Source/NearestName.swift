/// Guesses which name was meant.
package enum NearestName {
    /// The candidate nearest to `name`, at an edit distance of at most 2 (and less than the name's length).
    package static func of(_ name: String, among candidates: some Sequence<String>) -> String? {
        var best: (candidate: String, distance: Int)?
        for candidate in candidates {
            let distance = editDistance(Array(name.lowercased()), Array(candidate.lowercased()))
            guard distance <= 2, distance < name.count else { continue }
            if distance < best?.distance ?? 3 { best = (candidate, distance) }
        }
        return best?.candidate
    }

    /// The phrase to append to a message: `; did you mean "x"?`, or nothing.
    static func phrase(_ name: String, among candidates: some Sequence<String>) -> String {
        of(name, among: candidates).map { "; did you mean \"\($0)\"?" } ?? ""
    }

    /// Insertions, deletions, substitutions and swaps of neighbours.
    static func editDistance(_ source: [Character], _ target: [Character]) -> Int {
        if abs(source.count - target.count) > 2 { return 3 }
        var beforeLast: [Int] = []
        var last = Array(0...target.count)
        for row in 0..<source.count {
            var current = [row + 1]
            for column in 0..<target.count {
                let substitution = last[column] + (source[row] == target[column] ? 0 : 1)
                var distance = min(last[column + 1] + 1, current[column] + 1, substitution)
                if row > 0, column > 0, source[row] == target[column - 1], source[row - 1] == target[column] {
                    distance = min(distance, beforeLast[column - 1] + 1)
                }
                current.append(distance)
            }
            beforeLast = last
            last = current
        }
        return last[target.count]
    }
}
