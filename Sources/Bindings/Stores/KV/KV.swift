// KV.
