// Curl.
