//! Every bound of the HTTP server, with its reason.

use std::time::Duration;

/// Largest body of a request, except for [`RPC_BODY_BYTES_MAX`]: a transaction of 100 kB as hex
/// with room to spare.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Largest body of `POST /rpc`: a block of 4 MB as hex, and its envelope.
pub const RPC_BODY_BYTES_MAX: usize = 10 << 20;
/// Calls in one JSON-RPC batch: a batch must not do more than a client's fair share of requests.
pub const RPC_BATCH_MAX: usize = 16;
/// How often a long poll looks for higher fees; a new tip wakes it at once.
pub const LONG_POLL_LOOK: Duration = Duration::from_secs(1);
/// Blocks of one `generatetoaddress`: bounded by the request's time.
pub const GENERATE_BLOCKS_MAX: u32 = 1_000;
/// Blocks on a page; a summary needs the block's index row only.
pub const BLOCKS_PAGE_MAX: usize = 100;
/// Headers on a page: as many as a peer may ask for (`spec/13-sync`).
pub const HEADERS_PAGE_MAX: usize = 2_000;
/// Coins on a page.
pub const UTXOS_PAGE_MAX: usize = 1_000;
/// Transactions on a page; each with its resolved inputs.
pub const TRANSACTIONS_PAGE_MAX: usize = 100;
/// Transactions that `/v1/mempool` lists.
pub const MEMPOOL_PAGE_MAX: usize = 10_000;
/// Items on a page when the caller does not say.
pub const PAGE_DEFAULT: usize = 20;
/// Ids of a connection's past blocks that its WebSocket remembers to find a reorganisation's fork.
/// A deeper one is looked up in the store.
pub const EVENT_CURSOR_BLOCKS_MAX: usize = 1_024;
/// Mempool messages that wait for one WebSocket before it counts as slow.
pub const EVENT_QUEUE_MAX: usize = 4_096;

/// Bounds that tests set lower, to reach them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time; one more is closed at once. Each may hold 64 KiB of buffers.
    pub connections_max: usize,
    /// WebSockets among them.
    pub websockets_max: usize,
    /// Calls into the node at a time; they occupy threads.
    pub calls_max: usize,
    /// Time for a request's headers, also the time an idle connection is kept.
    pub header_timeout: Duration,
    /// Time for a request's body.
    pub body_timeout: Duration,
    /// Time for the answer to be made.
    pub request_timeout: Duration,
    /// Time for the answer of `POST /rpc`: `generatetoaddress` searches for as long as it takes.
    pub rpc_timeout: Duration,
    /// Long polls at a time; each holds a connection.
    pub long_polls_max: usize,
    /// Time after which a long poll is answered although nothing is new.
    pub long_poll_time: Duration,
    /// Time in which a client must take at least one more byte of its answer.
    pub write_stall_timeout: Duration,
    /// How often an idle WebSocket is pinged; two pings without answer close it.
    pub ping_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 512,
            websockets_max: 128,
            calls_max: 16,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(20),
            request_timeout: Duration::from_secs(30),
            rpc_timeout: Duration::from_secs(600),
            long_polls_max: 128,
            long_poll_time: Duration::from_secs(90),
            write_stall_timeout: Duration::from_secs(20),
            ping_interval: Duration::from_secs(20),
        }
    }
}
