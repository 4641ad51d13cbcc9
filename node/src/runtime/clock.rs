//! The node's clock: the one place where it asks what time it is.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970; 0 on a clock before that.
pub fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    now_ms() / 1000
}

/// Seconds since 1970 in the width of a header's time.
pub fn now_u32() -> u32 {
    u32::try_from(now_s()).unwrap_or(u32::MAX)
}

/// Milliseconds since the first call: never back, whatever happens to the machine's clock. State
/// machines that measure how long something takes are given this one.
pub fn monotonic_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = START.get_or_init(Instant::now).elapsed();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
