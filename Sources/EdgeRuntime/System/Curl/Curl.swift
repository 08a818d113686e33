// Curl is the owner of libcurl: HTTP requests to the outside, each a stream of bytes either way with
// back-pressure, all on one thread. It follows no redirect, keeps no cookie, decodes no content and decides
// about no address: it asks.
//
// Rules of the library that hold here (libcurl-thread(3), libcurl-multi(3), curl_easy_pause(3)):
// - A handle, easy or multi, is used by one thread at a time. All of them belong to the engine's thread;
//   what others want goes through a queue, and `curl_multi_wakeup`, the one call that any thread may make,
//   ends the wait.
// - curl_global_init runs once, before any other call; until 7.84 that wasn't thread-safe, so a static does
//   it.
// - Callbacks run inside curl_multi_perform and curl_easy_pause, on the engine's thread. They may not call
//   back into the multi handle. They touch their `CurlTransfer`, which outlives its handle's stay in the
//   multi.
// - A callback that can't take or give bytes returns a pause code; the data it was offered comes again
//   after curl_easy_pause, whose mask always says both directions.
// - CURLOPT_OPENSOCKETFUNCTION sees each address before a socket is made for it, CURLOPT_PREREQFUNCTION
//   sees the address of the connection that a request will use, also of a reused one. Both ask the
//   request's own rule: connections are shared by requests with different rules.
// - CURLOPT_NOSIGNAL: no signal is used for name resolution; Debian's build resolves on threads of its own.
// - Strings and lists given to a handle: strings are copied, lists (headers) are not and live as long as
//   the transfer.
