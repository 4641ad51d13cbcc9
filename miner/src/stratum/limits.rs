//! Every bound of foreign mining, with its reason.

/// Longest line of a client. The longest that a miner needs is an authorize of an address, a worker
/// name and a password: below 400 bytes.
pub const LINE_BYTES_MAX: usize = 4_096;
/// Characters of a worker's name after the address.
pub const WORKER_CHARS_MAX: usize = 64;
/// Workers of one connection; a proxy that has more opens another one.
pub const WORKERS_PER_SESSION_MAX: usize = 32;
/// Jobs of the present tip that a session still takes shares for: at a new one every 30 seconds a
/// share may be over a minute late.
pub const JOBS_MAX: usize = 4;
/// Shares of one session and one tip that are remembered to find duplicates: at the rate that
/// variable difficulty allows this is over half an hour. 8 bytes each, some 100 kB with the tree.
pub const SHARES_REMEMBERED_MAX: usize = 4_096;
/// Extensions named in one `mining.configure`; five are known to exist.
pub const EXTENSIONS_MAX: usize = 16;

/// Time between two shares that variable difficulty aims at.
pub const SHARE_INTERVAL_MS: u64 = 2_000;
/// Intervals that are good enough to be left alone: a change costs the miner its work in hand, and
/// sixteen shares tell a rate to no more than a quarter.
pub const SHARE_INTERVALS_KEPT_MS: std::ops::RangeInclusive<u64> = 500..=8_000;
/// Interval below which even a difficulty that the miner fixed is raised.
pub const FIXED_SHARE_INTERVAL_MIN_MS: u64 = 100;
/// Shares after which the rate is looked at.
pub const SHARES_PER_LOOK: u32 = 16;
/// Time after which it is looked at with fewer shares.
pub const LOOK_MS: u64 = 30_000;
/// Largest change of difficulty in one look, upwards: from one processor to a machine of hashing
/// chips (10 MH/s to 100 TH/s) in five looks.
pub const RAISE_MAX: f64 = 64.0;
/// Largest change downwards, as a divisor.
pub const LOWER_MAX: f64 = 8.0;
/// Difficulty of a session that said nothing: a share every three seconds for one fast core.
pub const START_DIFFICULTY: f64 = 0.01;

/// How far a miner may set the time ahead of the clock; below every chain's own bound it would be
/// worth holding a block for.
pub const TIME_AHEAD_S_MAX: u32 = 600;

/// Time to subscribe and to authorize.
pub const HANDSHAKE_MS_MAX: u64 = 30_000;
/// Silence after which a client is gone. Variable difficulty brings a share of even a slow miner
/// every few seconds once it has come down.
pub const IDLE_MS_MAX: u64 = 600_000;

/// Score at which a client is shut out.
pub const SCORE_MAX: u32 = 100;
/// Score that is forgiven per second.
pub const SCORE_FORGIVEN_PER_S: u32 = 1;
/// A line that is no request at all.
pub const SCORE_GARBAGE: u32 = 25;
/// A request whose parameters are wrong.
pub const SCORE_MALFORMED: u32 = 10;
/// A share before authorize, a failed authorize.
pub const SCORE_UNAUTHORIZED: u32 = 10;
/// A share that was sent before, or misses its target: a miner with a broken chip sends some.
pub const SCORE_BAD_SHARE: u32 = 5;
/// A method that does not exist: harmless, and free only within reason.
pub const SCORE_UNKNOWN_METHOD: u32 = 2;
/// Another wish for a difficulty from a client that has jobs: each makes a new one.
pub const SCORE_WISH: u32 = 1;
/// How long an address is shut out.
pub const BAN_MS: u64 = 600_000;
/// Addresses that are remembered as shut out; the ban that ends first makes room.
pub const BANS_MAX: usize = 4_096;

/// Workers in the statistics; the one that was silent the longest makes room.
pub const WORKERS_MAX: usize = 4_096;
/// Time constant of a worker's hash rate.
pub const RATE_WINDOW_MS: u64 = 300_000;

/// Answers of getwork that may still be solved: each is some 100 bytes, and a miner asks every few
/// seconds.
pub const OUTSTANDING_MAX: usize = 4_096;
