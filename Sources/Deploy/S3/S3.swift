// S3 speaks Amazon's object protocol, as R2 does, over a tenant's buckets: who signed a request, whether what arrives is what
// was signed, what he asks for, and the answers and errors as its clients know them. It keeps nothing: objects are the
// stores', access keys and their scopes come from whoever has them (`S3Directory`), connections are Host's.
//
// S3Handler            the way of a request: address, signature, right, operation, error
// S3Request            a request as its signature sees it
// S3Address            which account, bucket and key it means, by host and path
// SignedRequest        the signature of a request (AWS Signature Version 4), in a header or in the query
// CanonicalRequest     what is signed, in the one form that both sides agree on
// SigningKey(Cache)    derived keys, and the chain of signatures over the chunks of a streamed body
// S3AccessKey          keys, their scopes and tenants; TemporaryCredentials: those that end by themselves
// S3Operation          which operation a request is, and what it asks of its caller
// S3Call               a request that may be answered
// DocumentReader       documents that requests bring
// PayloadDecoder       a body in `aws-chunked` coding, verified while it flows; UploadBody: what the store pulls
// ObjectHeaders        what headers say of an object; EncodedWords, Base64: their forms
// ObjectReads, ObjectWrites, MultipartUploads, Lists, Buckets    the operations
// CrossOrigin          CORS rules, preflights and what answers tell browsers; LifecycleDocument: lifecycle rules
// FormUpload           files that browsers upload with a form; PostPolicy: what such a form may do
// PublicBucket         a bucket as everybody may read it, without a signature and without S3's forms
// XMLDocument, S3Error documents on their way out
