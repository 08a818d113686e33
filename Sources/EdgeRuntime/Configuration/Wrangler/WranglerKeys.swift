/// The keys of a `wrangler.toml`, `.json` or `.jsonc`: how each is inherited, and what becomes of it here.
enum WranglerKeys {
    enum Inheritance {
        /// The environment's value, else the top level's: the whole value, never merged.
        case inherited
        /// The environment's value alone.
        case repeated
        /// The top level's alone.
        case topLevel
    }

    enum Support {
        case read
        /// Has no meaning here: read over, with a note.
        case ignored(String)
        case refused(String)
    }

    struct Key {
        let inheritance: Inheritance
        let support: Support
    }

    private static let bundling = "it bundles JavaScript; a worker here is a Swift executable"
    private static let notYet = "this version of edge has no such binding"
    private static let legacy = "it belongs to an older format"

    static let all: [String: Key] = {
        var keys: [String: Key] = [:]
        func add(_ names: String, _ inheritance: Inheritance, _ support: Support) {
            for name in names.split(separator: " ") {
                keys[String(name)] = Key(inheritance: inheritance, support: support)
            }
        }
        add(
            "name main compatibility_date compatibility_flags account_id workers_dev preview_urls route routes triggers limits observability assets migrations build cache",
            .inherited, .read)
        add("placement", .inherited, .ignored("there is one place: this node"))
        add("logpush", .inherited, .ignored("logs go where the node's log goes"))
        add(
            "rules no_bundle minify keep_names base_dir find_additional_modules preserve_file_names tsconfig jsx_factory jsx_fragment upload_source_maps python_modules",
            .inherited, .ignored(bundling))
        add("exports", .inherited, .refused("declare durable object classes with migrations"))
        add(
            "vars secrets durable_objects kv_namespaces d1_databases r2_buckets queues services workflows analytics_engine_datasets vectorize ratelimits hyperdrive ai version_metadata send_email dispatch_namespaces tail_consumers",
            .repeated, .read)
        add("define", .repeated, .ignored(bundling))
        add(
            "browser images streaming_tail_consumers mtls_certificates secrets_store_secrets pipelines worker_loaders containers unsafe",
            .repeated, .refused(notYet))
        add("env dev keep_vars", .topLevel, .read)
        add("$schema", .topLevel, .read)
        add("send_metrics", .topLevel, .refused("edge sends no metrics to anybody; delete it"))
        add("site", .topLevel, .refused("\(legacy); use assets"))
        add("alias", .topLevel, .refused(bundling))
        add("wasm_modules text_blobs data_blobs", .topLevel, .refused("\(legacy); use assets or R2"))
        add("legacy_env", .topLevel, .refused("\(legacy); each environment is a worker of its own"))
        return keys
    }()
}
