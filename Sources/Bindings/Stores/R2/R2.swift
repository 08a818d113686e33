// StoresR2 keeps objects: bytes of any size under a name, written whole, read in ranges. It answers the
// calls of a bucket's binding; it speaks no HTTP, and what S3 and REST clients say is translated elsewhere.
//
// On disk, below the directory it is given:
//
//     index/                 an LMDB environment: every object, upload and part, and which blobs are in use
//     blobs/xx/<32 hex>      one immutable file per object or part larger than `inlineBytesMax`
//     tmp/<32 hex>           blobs that are being written
//
// A put writes its blob to tmp/, syncs it, renames it into blobs/, syncs that directory, and only then
// commits the index record: whatever happens in between, the index names complete files only. A file that
// the index doesn't name is an orphan and goes at the next sweep. Old blobs are unlinked after the commit
// that replaced them; who reads one has it open, or has pinned it, and goes on reading.
//
// Objects of up to `inlineBytesMax` bytes live in the index: they cost no file, and the one sync of the
// group commit makes a whole group of them durable. 64 KiB is one data frame, so reading one is one copy
// either way. Blobs that are written at the same time lie in the same directory `xx`, which changes each
// minute or so: they share the sync of the directory.
//
// A completed upload in parts is a list of its parts' blobs. Completing it moves no byte, whatever its
// size; it is sent file by file. A copy has links to its source's blobs: names of its own, that live as long
// as it does.
//
// Objects that come with a key are stored in sealed blocks (`BlobCipher.swift`); of the key, the index has
// the MD5.
