// Configuration turns the texts that describe a platform into one typed value, and every mistake in them
// into a diagnostic with its place and a way out. It runs nothing, reads no clock and no environment; only
// `ConfigurationLoader`, the thin coat at its edge, opens files.
//
//     text → SourceText → reader (TOML, JSON with comments) → DocumentTable → EffectiveConfiguration
//
// A document keeps the place of each key and value, so that a value's origin survives the merge of
// built-in values, `wrangler-like.toml`, `environments/NAME.toml` and `--set`.
