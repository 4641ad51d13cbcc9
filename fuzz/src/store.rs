//! What lies on a disk that may be damaged, or in a file that a stranger gave.
//!
//! Invariant: damage is an error that names its place; whatever is read was whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_protocol::codec::{decode, encode};
use cairn_protocol::ledger::Coin;
use cairn_protocol::state::LedgerState;
use cairn_storage::chain::{ChainFileReader, HeaderRow};
use cairn_storage::disk::{Disk, FakeDisk};
use cairn_storage::segment::{Position, SegmentLog, SegmentOptions};

use crate::ledger::PARAMS;

const ROW_BYTES_MAX: usize = 1 << 20;

/// A chain file as `chain import` reads it.
pub fn chain_file(data: &[u8]) {
    let Ok(reader) = ChainFileReader::new(data, PARAMS.chain_id()) else {
        return;
    };
    let (first, end) = reader.heights();
    let read = reader.take_while(Result::is_ok).count() as u64;
    assert!(read <= end - first);
}

/// A segment of the log with any content: opened, and read to its end.
pub fn segment_log(data: &[u8]) {
    let disk = FakeDisk::new();
    let directory = Path::new("/log");
    disk.create_directory(directory).expect("in memory");
    let segment = disk
        .create(&directory.join("00000000.seg"))
        .expect("in memory");
    segment.write_at(0, data).expect("in memory");
    segment.sync().expect("in memory");
    let floor = Position {
        segment: 0,
        offset: 0,
    };
    let options = SegmentOptions {
        segment_bytes: 1 << 20,
    };
    let opened = SegmentLog::open(
        Arc::new(disk),
        PathBuf::from(directory),
        "log",
        options,
        floor,
    );
    if let Ok((log, _)) = opened {
        let reader = log.reader();
        for frame in reader.frames(reader.start()).map_while(Result::ok) {
            let again = reader
                .read(frame.position)
                .expect("it was read a moment ago");
            assert_eq!(again.payload, frame.payload);
        }
    }
}

/// Rows of the tables.
pub fn chain_rows(data: &[u8]) {
    if let Ok(row) = decode::<HeaderRow>(data, ROW_BYTES_MAX) {
        assert_eq!(encode(&row), data);
    }
    if let Ok(coin) = decode::<Coin>(data, ROW_BYTES_MAX) {
        assert_eq!(encode(&coin), data);
    }
    if let Ok(state) = decode::<LedgerState>(data, ROW_BYTES_MAX) {
        assert_eq!(encode(&state), data);
    }
}
