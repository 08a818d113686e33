// Assets is the rules of static files: which file answers a path, under which headers, and what a path without one gets. It
// opens nothing and sends nothing; it is given a request's few words and a list of files, and gives back an answer to send.
//
// The rules are the product's (https://developers.cloudflare.com/workers/static-assets/): see docs/configuration.md.
