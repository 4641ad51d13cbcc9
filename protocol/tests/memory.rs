//! A message costs its receiver memory in proportion to the bytes that arrived, never to the lengths
//! that it claims (attack catalogue V16).

use cairn_protocol::block::Block;
use cairn_protocol::codec::decode;
use cairn_protocol::coinbase::Coinbase;
use cairn_protocol::limits::SYNC_RESPONSE_BYTES_MAX;
use cairn_protocol::transaction::Transaction;
use cairn_protocol::wire::{CompactBlock, SyncRequest, SyncResponse, TxBatch};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts what this thread holds and the most that it ever held.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that decoding may hold beyond what the message pays for.
const SLACK: isize = 64 * 1024;

/// Bytes held at most for one byte received: an empty data output has 3 bytes and takes 48, in a
/// vector that is at most half empty.
const GROWTH_MAX: isize = 34;

fn peak_of<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> (bool, isize) {
    let before = HELD.get();
    PEAK.set(before);
    let accepted = decode::<T>(bytes, SYNC_RESPONSE_BYTES_MAX).is_ok();
    (accepted, PEAK.get() - before)
}

fn check<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let (_, peak) = peak_of::<T>(bytes);
    let allowed = SLACK + GROWTH_MAX * bytes.len() as isize;
    let name = std::any::type_name::<T>();
    assert!(
        peak <= allowed,
        "{name}: {peak} bytes held for {} received",
        bytes.len()
    );
}

/// Every length of a message replaced by the largest ones that a varint can say.
#[test]
fn lying_lengths_reserve_nothing() {
    let lies: [&[u8]; 4] = [
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xa8, 0xc3, 0x01], // 25,000
        &[0x80, 0x20],       // 4,096
    ];
    let mut tried = 0;
    for lie in lies {
        for prefix in 0..700 {
            for filler in [0u8, 1, 2] {
                let mut bytes = vec![filler; prefix];
                bytes.extend_from_slice(lie);
                bytes.extend_from_slice(&[filler; 8]);
                check::<Transaction>(&bytes);
                check::<Block>(&bytes);
                check::<Coinbase>(&bytes);
                check::<CompactBlock>(&bytes);
                check::<SyncRequest>(&bytes);
                check::<SyncResponse>(&bytes);
                check::<TxBatch>(&bytes);
                tried += 7;
            }
        }
    }
    assert_eq!(tried, 4 * 700 * 3 * 7);
}

/// The worst honest shapes: the smallest elements, as many as a list may have.
#[test]
fn full_lists_of_small_elements_stay_in_proportion() {
    // A transaction of 33,400 empty data outputs: version, no input, outputs, valid from, no witness.
    let mut bytes = vec![1, 0, 0xf8, 0x84, 0x02];
    bytes.extend([0u8, 4, 0].repeat(33_400));
    bytes.extend([0, 0, 0]);
    let (accepted, peak) = peak_of::<Transaction>(&bytes);
    assert!(accepted, "the message is canonical");
    assert!(
        peak <= SLACK + GROWTH_MAX * bytes.len() as isize,
        "{peak} bytes"
    );
    // An answer with 4,096 empty transactions of six bytes each.
    let mut bytes = vec![4, 0x80, 0x20];
    bytes.extend([1u8, 0, 0, 0, 0, 0].repeat(4_096));
    let (accepted, peak) = peak_of::<SyncResponse>(&bytes);
    assert!(accepted, "the message is canonical");
    assert!(
        peak <= SLACK + GROWTH_MAX * bytes.len() as isize,
        "{peak} bytes"
    );
}
