/// Rows in columns, for people. On a terminal, what doesn't fit its width is cut; elsewhere nothing is.
struct Table {
    struct Column: ExpressibleByStringLiteral {
        enum Alignment { case left, right }
        let title: String
        let alignment: Alignment

        init(stringLiteral title: String) { self.init(title, .left) }
        init(_ title: String, _ alignment: Alignment) {
            self.title = title
            self.alignment = alignment
        }
    }

    private let columns: [Column]
    private var rows: [[String]] = []

    /// - Parameter columns: Titles; numbers stand better at the right: `Column("SIZE", .right)`.
    init(_ columns: Column...) { self.columns = columns }
    init(_ columns: [Column]) { self.columns = columns }

    /// - Parameter cells: One for each column; any text, which is made printable.
    mutating func add(_ cells: String...) { add(cells) }

    mutating func add(_ cells: [String]) {
        precondition(cells.count == columns.count, "a row has a cell for each column")
        rows.append(cells.map { Terminal.printable($0) })
    }

    /// - Parameter nothing: What is printed on standard error in place of a table without rows.
    func print(orSay nothing: String) {
        guard !rows.isEmpty else { return Edge.complain(nothing) }
        Swift.print(text(width: Terminal.width(of: 1)))
    }

    /// - Parameter width: At most so many columns; `nil` for as many as it takes.
    func text(width: Int?) -> String {
        let all = [columns.map(\.title)] + rows
        let widths = fitted(
            all.reduce([Int](repeating: 0, count: columns.count)) { zip($0, $1).map { max($0, Terminal.columns($1)) } }, width)
        return all.map { line($0, widths) }.joined(separator: "\n")
    }

    private static let gap = 2
    /// Of a column that was cut: less says nothing.
    private static let columnsMin = 8

    /// Takes from the widest columns, one by one, until all fit.
    private func fitted(_ widths: [Int], _ limit: Int?) -> [Int] {
        var widths = widths
        guard let limit else { return widths }
        while widths.reduce(0, +) + Self.gap * (widths.count - 1) > limit {
            guard let widest = widths.indices.max(by: { widths[$0] < widths[$1] }), widths[widest] > Self.columnsMin else {
                break
            }
            widths[widest] -= 1
        }
        return widths
    }

    private func line(_ cells: [String], _ widths: [Int]) -> String {
        var line = ""
        for (index, cell) in cells.enumerated() {
            let shown = Self.cut(cell, to: widths[index])
            let space = String(repeating: " ", count: widths[index] - Terminal.columns(shown))
            if index > 0 { line += String(repeating: " ", count: Self.gap) }
            line += columns[index].alignment == .right ? space + shown : shown + space
        }
        return String(line.reversed().drop { $0 == " " }.reversed())
    }

    private static func cut(_ text: String, to width: Int) -> String {
        guard Terminal.columns(text) > width else { return text }
        var shown = ""
        var taken = 0
        for character in text {
            let columns = Terminal.columns(character)
            guard taken + columns < width else { break }
            shown.append(character)
            taken += columns
        }
        return shown + "…"
    }
}
