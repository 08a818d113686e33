// KV keeps values under keys for a tenant's workers, ordered, with metadata and expiration, durable once acknowledged.
// It knows neither isolates nor HTTP, and never answers from a cache: what was acknowledged is what is read.
