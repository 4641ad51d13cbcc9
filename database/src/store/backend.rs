//! redb's view of a file of `cairn_storage::disk`, so that one code runs on the real disk and on the
//! one that loses power.

use cairn_storage::disk::DiskFile;
use redb::{BackendError, StorageBackend};
use std::io;
use std::ops::Bound;
use std::sync::Arc;

/// A file under redb.
#[derive(Debug)]
pub(super) struct Backend(pub(super) Arc<dyn DiskFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        let from_zero = matches!(start, Bound::Unbounded | Bound::Included(0));
        if !from_zero || end != Bound::Unbounded {
            return Err(BackendError::Unsupported);
        }
        self.0.try_lock().map_err(BackendError::Io)
    }

    fn unlock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<(), BackendError> {
        // The lock goes with the file handle, which this backend owns.
        Ok(())
    }
}
