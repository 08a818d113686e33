// S3 speaks Amazon's object protocol: who signed a request and whether what arrives is what was signed, and the errors as
// its clients know them. It opens nothing and keeps nothing: objects are the stores', keys and their scopes ControlPlane's.
//
// S3Request        a request as its signature sees it
// SignedRequest    the signature of a request (AWS Signature Version 4), in a header or in the query
// CanonicalRequest what is signed, in the one form that both sides agree on
// SigningKey       derived keys, and the chain of signatures over the chunks of a streamed body
// PayloadDecoder   a body in `aws-chunked` coding, verified while it flows
// S3Error          code, status and text, and its XML
