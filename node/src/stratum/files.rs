//! Room for a thousand sockets.

use super::limits::OPEN_FILES;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the number of files that this process may open, as far as the system lets it.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let enough = |current: Option<u64>| current.is_none_or(|files| files >= OPEN_FILES);
    if enough(limit.current) {
        return;
    }
    let wanted = limit.maximum.map_or(OPEN_FILES, |max| max.min(OPEN_FILES));
    let raised = Rlimit {
        current: Some(wanted),
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, wanted, "cannot raise the limit of open files");
    } else if wanted < OPEN_FILES {
        tracing::warn!(
            wanted,
            "this system allows few open files: fewer miners fit"
        );
    }
}
