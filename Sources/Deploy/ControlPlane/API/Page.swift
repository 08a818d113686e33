/// One page of a list that is counted in pages: past the end it is empty, which is how clients know that they are done
/// (spec control-plane.md §4).
struct Page<Item> {
    let items: ArraySlice<Item>
    let number: Int
    let size: Int
    let totalCount: Int

    /// - Parameter sizeDefault: What `per_page` is when the request doesn't say.
    init(_ all: [Item], _ call: APICall, sizeDefault: Int = 20) {
        number = max(1, call.queryValue("page").flatMap(Int.init) ?? 1)
        size = max(1, call.queryValue("per_page").flatMap(Int.init) ?? sizeDefault)
        totalCount = all.count
        let (start, overflow) = (number - 1).multipliedReportingOverflow(by: size)
        items = overflow || start >= all.count ? [] : all[start..<min(all.count, start + size)]
    }

    static var parameters: [APIOperation.Parameter] {
        [
            .init("page", .integer(1...1_000_000), "The page, from 1."),
            .init("per_page", .integer(1...1000), "How many a page has."),
        ]
    }

    var info: JSON {
        .object([
            "page": .integer(Int64(number)), "per_page": .integer(Int64(size)), "count": .integer(Int64(items.count)),
            "total_count": .integer(Int64(totalCount)), "total_pages": .integer(Int64((totalCount + size - 1) / size)),
        ])
    }

    func reply(_ json: (Item) -> JSON) -> APIReply { .result(.array(items.map(json)), info: info) }
}
