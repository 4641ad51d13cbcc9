//! Every limit of the protocol, each with its derivation.
//!
//! Limits that a chain chooses for itself stand in its specification (`spec::Limits`); the numbers
//! here hold on every chain because decoders need them before a chain is known.
//! Rules: `spec/01-conventions.md#limits`.

/// Bytes of a block header: Bitcoin's.
pub const HEADER_BYTES: usize = 80;

/// Weight that any chain's `block_weight_max` may have. At one weight unit per witness byte a block
/// never exceeds 4 MB, which one sync response carries.
pub const BLOCK_WEIGHT_CEILING: u64 = 4_000_000;

/// Bytes of an encoded block: the weight ceiling, plus slack for lengths that have no weight.
pub const BLOCK_BYTES_MAX: usize = 4_000_000 + 64 * 1024;

/// Bytes of an encoded transaction: its weight ceiling at one unit a byte.
pub const TRANSACTION_BYTES_MAX: usize = 400_000;

/// Inputs of one transaction: 400,000 weight at 4 x 33 bytes an input, rounded up.
pub const INPUTS_MAX: usize = 3_100;

/// Outputs of one transaction: 400,000 weight at 4 x 3 bytes (an empty `Data`), rounded up.
pub const OUTPUTS_MAX: usize = 33_400;

/// Transactions of one block: 4,000,000 weight at the smallest transaction (one input and one
/// output: 4 x 40 bytes), rounded up.
pub const BLOCK_TRANSACTIONS_MAX: usize = 25_000;

/// Bytes of a coinbase: what a Stratum job carries in two halves.
pub const COINBASE_BYTES_MAX: usize = 4_000;

/// Bytes of an encoded extension. Version 1 cannot exceed 651; later versions have this room.
pub const EXTENSION_BYTES_MAX: usize = 1_024;

/// Commitments in an extension.
pub const COMMITMENTS_MAX: usize = 8;

/// Bytes of the seed that a proposer reveals: a BLS signature would fit.
pub const SEED_REVEAL_BYTES_MAX: usize = 96;

/// Evidence in one block.
pub const EVIDENCE_MAX: usize = 8;

/// Bytes of one piece of evidence.
pub const EVIDENCE_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a seal: round, bitmap and a 64-byte signature for each of 512 validators, with slack.
pub const SEAL_BYTES_MAX: usize = 36 * 1024;

/// Bytes of a `Data` output: a hash or two with a tag, not a file store.
pub const DATA_BYTES_MAX: usize = 256;

/// Keys of a `Threshold` lock: its signers fit a 16-bit map.
pub const THRESHOLD_KEYS_MAX: usize = 16;

/// Validators in a set: a certificate of them fits `SEAL_BYTES_MAX`.
pub const VALIDATORS_MAX: usize = 512;

/// Bytes of a bitmap of signers: a bit a validator.
pub const SIGNER_BITMAP_BYTES_MAX: usize = VALIDATORS_MAX / 8;

/// Bytes of a message of the PBFT core. A NEW-VIEW of 512 validators has 512 view changes of up to
/// 102 bytes and a certificate of 32,909: 85,300 with its own fields.
pub const BFT_MESSAGE_BYTES_MAX: usize = 96 * 1024;

/// A frame on a link: a compact block with its round and signature, or part of a body whose
/// largest transaction has 400 kB.
pub const LINK_FRAME_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of the greeting on a validator's stream: a key and a signature are 96.
pub const GREETING_BYTES_MAX: usize = 128;

/// Bytes of a validator's safety record: under 1 KiB and a certificate, which is as large as a seal.
pub const SAFETY_RECORD_BYTES_MAX: usize = SEAL_BYTES_MAX + 1_024;

/// Entries of the jail and of the offence list that one state carries.
pub const OFFENCES_MAX: usize = 4_096;

/// Entries of a chain's schedule.
pub const SCHEDULE_ENTRIES_MAX: usize = 256;

/// Steps of a subsidy table: 64 halvings end any `u64`.
pub const SUBSIDY_STEPS_MAX: usize = 64;

/// Funded accounts of a chain specification.
pub const FUNDED_MAX: usize = 4_096;

/// Header times that the median takes.
pub const MEDIAN_TIMES: usize = 11;

/// Hashes in a block locator: exponential steps over any chain height end well below it.
pub const LOCATOR_MAX: usize = 64;

/// Header records in one answer.
pub const HEADERS_MAX: usize = 2_048;

/// Blocks asked for in one request.
pub const BLOCKS_REQUEST_MAX: usize = 128;

/// Transactions asked for by id in one request.
pub const TRANSACTIONS_REQUEST_MAX: usize = 1_024;

/// Transaction indexes of one block asked for in one request.
pub const COMPACT_INDEXES_MAX: usize = 4_096;

/// Transactions of one gossip batch.
pub const TX_BATCH_MAX: usize = 64;

/// Bytes of one gossip batch of transactions.
pub const TX_BATCH_BYTES_MAX: usize = 128 * 1024;

/// Bytes of a compact block in gossip: 25,000 short ids, coinbase, extension and seal fit.
pub const COMPACT_BLOCK_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a status message. Version 1 has at most 280: seven values of 32 bytes, five `u64` of at
/// most 10 and two `u16` of at most 3. The rest is room for later versions.
pub const STATUS_BYTES_MAX: usize = 512;

/// Bytes of a goodbye message.
pub const GOODBYE_BYTES_MAX: usize = 64;

/// Bytes of a sync request.
pub const SYNC_REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Bytes after which an answer stops at the object that passes it.
pub const SYNC_RESPONSE_BYTES_SOFT: usize = 4 * 1024 * 1024;

/// Bytes that no answer may have.
pub const SYNC_RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;
