//! Export and import: what comes back is what went out, and a cut, damaged or foreign file is told.

mod common;

use cairn_protocol::ledger::BlockStore;
use cairn_storage::StorageError;
use cairn_storage::chain::{ChainFileReader, ChainFileWriter, Progress, export_chain};
use cairn_storage::disk::FakeDisk;
use common::*;

fn exported() -> (
    Vec<u8>,
    Vec<cairn_protocol::block::Block>,
    cairn_protocol::hash::BlockId,
) {
    let params = params();
    let disk = FakeDisk::new();
    let mut store = open(&disk, &params, tiny_options()).unwrap();
    let mut blocks = Vec::new();
    for salt in 0..12 {
        let state = BlockStore::state(&store).clone();
        let made = block(&params, &state, vec![], 1, salt);
        connect(&mut store, &made).unwrap();
        blocks.push(made);
    }
    let mut seen = Vec::new();
    let file = export_chain(&store.snapshot(), Vec::new(), &mut |progress| {
        seen.push(progress)
    })
    .unwrap();
    assert_eq!(seen.len(), 12);
    let bytes = blocks
        .iter()
        .map(|block| block.to_bytes().len() as u64)
        .sum();
    assert_eq!(
        *seen.last().unwrap(),
        Progress {
            blocks: 12,
            blocks_total: 12,
            bytes
        }
    );
    (file, blocks, params.chain_id())
}

#[test]
fn an_exported_chain_imports_into_an_equal_one() {
    let (file, blocks, chain_id) = exported();
    let reader = ChainFileReader::new(file.as_slice(), chain_id).unwrap();
    let read: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(read, blocks);
    let params = params();
    let mut store = open(&FakeDisk::new(), &params, tiny_options()).unwrap();
    for block in &read {
        connect(&mut store, block).unwrap();
    }
    assert_eq!(BlockStore::state(&store).tip, blocks.last().unwrap().id());
}

#[test]
fn every_cut_and_every_flipped_byte_is_told() {
    let (file, blocks, chain_id) = exported();
    let read = |bytes: &[u8]| -> (usize, Option<StorageError>) {
        let mut count = 0;
        let reader = match ChainFileReader::new(bytes, chain_id) {
            Ok(reader) => reader,
            Err(error) => return (0, Some(error)),
        };
        for block in reader {
            match block {
                Ok(block) => assert_eq!(block, blocks[count]),
                Err(error) => return (count, Some(error)),
            }
            count += 1;
        }
        (count, None)
    };
    for length in (0..file.len()).step_by(13) {
        let (count, error) = read(&file[..length]);
        let error = error.expect("a cut file is told").to_string();
        assert!(
            count < blocks.len() && error.contains("chain file"),
            "{error}"
        );
    }
    for at in (0..file.len()).step_by(11) {
        let mut bad = file.clone();
        bad[at] ^= 1;
        assert!(read(&bad).1.is_some(), "flipped byte {at} was not told");
    }
}

#[test]
fn another_chains_file_is_refused() {
    let (file, ..) = exported();
    let other = params_funding(1, 1).chain_id();
    let refused = ChainFileReader::new(file.as_slice(), other)
        .unwrap_err()
        .to_string();
    assert!(refused.contains(&other.to_string()), "{refused}");
}

#[test]
fn a_writer_keeps_its_count() {
    let id = params().chain_id();
    let mut writer = ChainFileWriter::new(Vec::new(), id, 1, 1).unwrap();
    writer.append(b"block").unwrap();
    assert!(writer.append(b"block").is_err());
    let writer = ChainFileWriter::new(Vec::new(), id, 1, 1).unwrap();
    assert!(writer.finish().is_err());
}
