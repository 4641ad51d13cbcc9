//! Bounds of the database, each with where it comes from.

// Entries.

/// Bytes of an entry: 4 MiB. A follower holds some of them in memory for each group; a larger
/// transaction is a chain of prewrites.
pub const ENTRY_BYTES_MAX: usize = 4 << 20;
/// Bytes of a key of a row, an index or the catalog: 16 KiB, six times what a B-tree of PostgreSQL
/// takes, and still two hundred keys to an entry.
pub const KEY_BYTES_MAX: usize = 16 << 10;
/// Bytes of a row or of the value of an index entry: what an entry holds beside its header and one
/// key of the largest kind.
pub const ROW_BYTES_MAX: usize = ENTRY_BYTES_MAX - KEY_BYTES_MAX - 1024;
/// Bytes of a channel's name: that of an identifier.
pub const CHANNEL_BYTES_MAX: usize = 63;
/// Bytes of a notification: one less than PostgreSQL's 8,000, as there.
pub const NOTIFICATION_BYTES_MAX: usize = 7_999;
/// Changes of an entry: the smallest, the removal of an empty catalog key, has two bytes.
pub const CHANGES_MAX: u32 = (ENTRY_BYTES_MAX / 2) as u32;
/// Members of a group, voters and learners: seven voters are many, the rest are read replicas.
pub const MEMBERS_MAX: usize = 64;
/// Bytes of a member's id: a libp2p peer id has 38, a hash 32.
pub const MEMBER_BYTES_MAX: usize = 64;
/// Parts of a chain: 1,024 of 4 MiB, 4 GiB in one transaction. A bulk load goes through an unnamed
/// storage id instead, in entries that are committed one by one.
pub const CHAIN_PARTS_MAX: u32 = 1024;

// Log.

/// Groups of a node: a config group and a few data groups are the rule; the bound keeps the state at
/// the head of a segment under half a megabyte.
pub const GROUPS_MAX: usize = 2048;
/// Bytes of a saved vote: a term, a node id and a flag.
pub const VOTE_BYTES_MAX: usize = 128;
/// Bytes of a batch at which the writer stops draining. The last record may pass it.
pub const BATCH_BYTES: usize = 4 << 20;
/// Bytes of a frame's payload: a full batch, the record that passed it, and the state of all groups
/// that opens a segment.
pub const FRAME_BYTES_MAX: usize = BATCH_BYTES + ENTRY_BYTES_MAX + (1 << 20);
/// Bytes of a segment file: 16 MiB as a PostgreSQL segment. It holds the largest frame; the writer
/// makes the next one ready while it fills this one.
pub const SEGMENT_BYTES: u32 = 16 << 20;
/// Bytes of proposals that wait for the writer: some eight full batches. Whoever proposes more waits.
pub const QUEUE_BYTES_MAX: usize = 32 << 20;
/// Milliseconds without a proposal after which the writer seals: long against a sync, short against
/// the time in which somebody would copy or lose a disk.
pub const IDLE_SEAL_MS: u64 = 100;

// Tree.

/// Leaf hashes in memory that are not in a tile file yet: 32 KiB of them are written at once.
pub const LEAVES_BUFFERED_MAX: usize = 1024;

// Wire.

/// Bytes of a first packet and of each message before a client is known: PostgreSQL's bound.
pub const STARTUP_BYTES_MAX: usize = 10_000;
/// Milliseconds from the connection to the end of authentication: PostgreSQL's default.
pub const STARTUP_MS_MAX: u64 = 60_000;
/// Bytes of a message of a client: 16 MiB, four times what a row may have.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Connections at once, those that are still unknown included: what the issue asks for.
pub const CONNECTIONS_MAX: usize = 8_000;
/// Bytes of a buffer that an idle connection keeps in each direction: 8,000 connections keep 64 MiB
/// at most, and only those that have sent as much.
pub const IDLE_BUFFER_BYTES: usize = 4 << 10;
/// Bytes that wait before they are sent without being asked for: some frames of a network, little
/// beside a row.
pub const FLUSH_BYTES: usize = 32 << 10;
/// Milliseconds that a client may take no byte of what waits for it.
pub const WRITE_STALL_MS_MAX: u64 = 60_000;
/// Prepared statements of a session.
pub const STATEMENTS_MAX: usize = 10_000;
/// Portals of a session; each holds its parameters, and its rows once it runs.
pub const PORTALS_MAX: usize = 1_000;
/// Milliseconds that the answer to an attempt waits after one failed from the same address; twice as
/// long with each more.
pub const THROTTLE_MS: u64 = 50;
/// The longest of these waits: well below the bound of the startup.
pub const THROTTLE_MS_MAX: u64 = 5_000;
/// Addresses whose failures are counted.
pub const THROTTLED_ADDRESSES_MAX: usize = 4_096;
