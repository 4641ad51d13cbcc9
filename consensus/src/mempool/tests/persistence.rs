//! The pool's file: what was written comes back, what was damaged is refused.

use std::sync::Arc;

use super::super::{DumpError, decode_dump, encode_dump};
use super::kit::*;
use proptest::prelude::*;

fn filled() -> World {
    let mut world = World::new(3);
    for (n, fee) in (0..).zip([900, 2_000, 1_200]) {
        world.now += 10;
        for transaction in chain(coin(n), 3, fee) {
            world.accept(&transaction);
        }
    }
    world
}

#[test]
fn a_restart_gives_the_same_pool_with_the_same_ages() {
    let old = filled();
    let bytes = encode_dump(&old.pool.dump());
    let mut new = World::new(3);
    new.now = old.now + 5_000;
    for (transaction, time_added_s) in decode_dump(&bytes).expect("just written") {
        let context = new.context();
        let (now, transaction) = (new.now, Arc::new(transaction));
        let candidate = new.pool.prepare(now, transaction, &new.coins, &context);
        let verified = candidate
            .expect("parents come first")
            .verified()
            .added_at(time_added_s);
        new.pool
            .insert(now, verified, &new.coins, &context)
            .expect("acceptable");
    }
    assert_eq!(encode_dump(&new.pool.dump()), bytes);
    let first = old
        .pool
        .by_fee_rate()
        .map(|entry| entry.time_added_s)
        .min()
        .expect("nine");
    assert_eq!(new.pool.expire(first + 336 * 3600).len(), 3, "ages go on");
}

#[test]
fn an_empty_pool_has_a_file_too() {
    assert_eq!(decode_dump(&encode_dump(&[])), Ok(Vec::new()));
}

#[test]
fn other_files_are_refused_by_name() {
    assert_eq!(decode_dump(b""), Err(DumpError::Magic));
    assert_eq!(decode_dump(&[b'x'; 100]), Err(DumpError::Magic));
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let bytes = encode_dump(&filled().pool.dump());
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(decode_dump(&damaged).is_err(), "bit of byte {at}");
        assert!(decode_dump(&bytes[..at]).is_err(), "cut at {at}");
    }
}

/// A right checksum over wrong records: lengths are believed no further than the bytes go.
fn sealed(content: &[u8]) -> Vec<u8> {
    let mut bytes = b"cairn mempool 1\n".to_vec();
    bytes.extend(content);
    let checksum = cairn_protocol::hash::sha256(&bytes);
    bytes.extend(checksum);
    bytes
}

#[test]
fn a_lying_length_is_refused() {
    let mut record = 7u64.to_le_bytes().to_vec();
    record.extend(u32::MAX.to_le_bytes());
    assert_eq!(
        decode_dump(&sealed(&record)),
        Err(DumpError::Record { at: 16 })
    );
    assert_eq!(
        decode_dump(&sealed(&record[..10])),
        Err(DumpError::Record { at: 16 })
    );
    record[8..].copy_from_slice(&3u32.to_le_bytes());
    record.extend([1, 2, 3]);
    assert!(matches!(
        decode_dump(&sealed(&record)),
        Err(DumpError::Transaction(_))
    ));
}

proptest! {
    #[test]
    fn any_records_are_decoded_or_refused(content in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(read) = decode_dump(&sealed(&content)) {
            let shared: Vec<_> = read.into_iter().map(|(tx, time)| (Arc::new(tx), time)).collect();
            prop_assert_eq!(encode_dump(&shared), sealed(&content));
        }
    }
}
