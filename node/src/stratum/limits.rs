//! Bounds of the Stratum listener; those of the protocol are in `cairn_miner::stratum::limits`.

use std::time::Duration;

/// Connections at a time: twice the thousand that one node is made for, so that a thousand can
/// come back while the old ones have not ended. Each holds some 20 kB.
pub const CONNECTIONS_MAX: usize = 2_048;
/// Connections of one address: a farm behind one router. The machine's own address has no bound
/// but the first, since a proxy may stand behind it.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 256;
/// Lines per second of one connection that are read at once; a faster client is read slower. A
/// share takes some 10 µs, so one client has at most 1 % of a processor.
pub const LINES_PER_S_MAX: u32 = 500;
/// Lines that may come in one burst.
pub const LINES_BURST: u32 = 1_000;
/// Time in which a client must take what it is sent.
pub const WRITE_MAX: Duration = Duration::from_secs(10);
/// How often a session looks at the time.
pub const TICK: Duration = Duration::from_secs(5);
/// How often fees and the age of the work are looked at.
pub const LOOK: Duration = Duration::from_secs(1);
/// Looks after which work is renewed for its time alone. Miners give up after two silent minutes.
pub const RENEW_LOOKS: u32 = 30;
/// Templates that a found block may belong to: those of the jobs that sessions keep, and some that
/// were made for getwork.
pub const TEMPLATES_MAX: usize = 8;
/// How long after the last getwork its work is kept fresh.
pub const GETWORK_DEMAND_MS: u64 = 60_000;
/// Workers that `/v1/miner` lists.
pub const WORKERS_SHOWN: usize = 1_000;
/// Pause after a failed accept, which means that this process is out of files.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Files that a node wants to be able to open: Stratum's connections, the API's, the swarm's, and
/// the stores.
pub const OPEN_FILES: u64 = 8_192;
/// How far a block's time may run ahead of the clock before no more work is handed out: on a chain
/// with a fixed target a fast miner pushes time on by one second in six blocks.
pub const AHEAD_S_MAX: u32 = 3_600;
