//! Where fuzzing begins: the specification's vectors, turned into inputs of each target.
//!
//! Invariant: every target has a seed that it takes to its end, so that a run does not spend itself
//! on finding the first valid byte.

use std::path::{Path, PathBuf};

use cairn_protocol::codec::encode;
use cairn_protocol::spec::builtin;
use cairn_protocol::wire::TxBatch;
use cairn_storage::chain::ChainFileWriter;
use cairn_storage::disk::FakeDisk;
use cairn_storage::segment::{Position, SegmentLog, SegmentOptions};
use serde_json::Value;
use std::sync::Arc;

use crate::ledger::PARAMS;

/// The seeds of a target.
///
/// # Panics
/// If a file of vectors is missing or not of its form.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "transaction" => {
            let of_type = typed("encoding", "transaction");
            [
                fields("transactions", "transaction"),
                fields("transaction_ids", "transaction"),
                of_type,
            ]
            .concat()
        }
        "block" => {
            let setup = vectors("blocks")["setup"].clone();
            let setup = setup.as_array().expect("a list").iter().filter_map(octets);
            fields("blocks", "block").into_iter().chain(setup).collect()
        }
        "header_record" => [
            fields("headers", "record"),
            typed("encoding", "header_record"),
        ]
        .concat(),
        "coinbase" => vec![PARAMS.genesis().coinbase.to_bytes()],
        "proof" => vec![[vec![7; 64], encode(&proof())].concat()],
        "signatures" => signatures(),
        "bits" => vec![[vec![0xff, 0xff, 0x00, 0x1d], vec![3; 32]].concat()],
        "retarget" => vec![[vec![0xff; 32], vec![0x55; 32], vec![1; 28]].concat()],
        "status" | "goodbye" | "sync_request" | "sync_response" | "tx_batch" => {
            [typed("messages", target), typed("encoding", target)].concat()
        }
        "compact_block" => compact_blocks(),
        "frame" => framed(),
        "chain_file" => vec![chain_file()],
        "segment_log" => vec![segment()],
        "chain_rows" => [
            typed("encoding", "coin"),
            vec![encode(PARAMS.genesis_state())],
        ]
        .concat(),
        "address" => texts("addresses", "text"),
        "chain_spec" => {
            let built_in = builtin::devnet_file().to_toml().into_bytes();
            [texts("chains", "toml"), vec![built_in]].concat()
        }
        "node_config" => vec![
            b"chain = 'devnet'\ndata-dir = 'd'\np2p = ['/ip4/127.0.0.1/tcp/1']\nmine = true"
                .to_vec(),
            b"threads = 7\nroles = ['ledger']\nmax_memory = '1GiB'\nlog = 'json'".to_vec(),
        ],
        "keystore_file" => vec![include_bytes!("keystore.json").to_vec()],
        "size" => vec![b"3MiB".to_vec(), b"1 GB".to_vec()],
        other => panic!("{other} has no seeds"),
    }
}

fn vectors(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../spec/vectors")
        .join(name)
        .with_extension("json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_json::from_str(&text).expect("vectors are JSON")
}

fn cases(name: &str) -> Vec<Value> {
    vectors(name)["cases"].as_array().expect("cases").clone()
}

fn octets(value: &Value) -> Option<Vec<u8>> {
    hex::decode(value.as_str()?).ok()
}

fn fields(name: &str, field: &str) -> Vec<Vec<u8>> {
    cases(name)
        .iter()
        .filter_map(|case| octets(&case[field]))
        .collect()
}

fn texts(name: &str, field: &str) -> Vec<Vec<u8>> {
    let text = |case: &Value| Some(case[field].as_str()?.as_bytes().to_vec());
    cases(name).iter().filter_map(text).collect()
}

fn typed(name: &str, kind: &str) -> Vec<Vec<u8>> {
    let cases = cases(name);
    let of_kind = cases.iter().filter(|case| case["type"] == kind);
    of_kind.filter_map(|case| octets(&case["bytes"])).collect()
}

fn proof() -> cairn_protocol::merkle::TxProof {
    use cairn_protocol::hash::{TxId, Wtxid};
    let ids: Vec<_> = (0..5).map(|n| (TxId([n; 32]), Wtxid([n; 32]))).collect();
    cairn_protocol::merkle::prove(&ids, 3).expect("it is there")
}

fn signatures() -> Vec<Vec<u8>> {
    let part = |case: &Value, field: &str| octets(&case[field]).unwrap_or_default();
    let job = |case: &Value| {
        [
            part(case, "key"),
            part(case, "message"),
            part(case, "signature"),
        ]
        .concat()
    };
    let jobs: Vec<Vec<u8>> = cases("signatures").iter().map(job).collect();
    jobs.chunks(4).map(<[_]>::concat).collect()
}

fn compact_blocks() -> Vec<Vec<u8>> {
    let whole = &vectors("compact")["whole"];
    let compact = octets(&whole["compact_block"]).expect("hex");
    let block = octets(&whole["block"]).expect("hex");
    let block = cairn_protocol::block::Block::from_bytes(&block).expect("a vector's block");
    let pool = encode(&TxBatch(block.transactions));
    let length = u16::try_from(pool.len()).expect("a small block");
    let with_pool = [length.to_le_bytes().to_vec(), pool, compact.clone()].concat();
    vec![with_pool, [vec![0, 0], compact].concat()]
}

fn framed() -> Vec<Vec<u8>> {
    let payloads = typed("messages", "sync_request");
    let one = |payload: Vec<u8>| {
        let mut out = vec![64];
        futures::executor::block_on(crate::frame::write_frame(&mut out, &payload)).expect("memory");
        out
    };
    payloads.into_iter().map(one).collect()
}

fn chain_file() -> Vec<u8> {
    let blocks = fields("blocks", "block");
    let mut writer = ChainFileWriter::new(Vec::new(), PARAMS.chain_id(), 1, 2).expect("memory");
    for block in &blocks[..2] {
        writer.append(block).expect("memory");
    }
    writer.finish().expect("memory")
}

fn segment() -> Vec<u8> {
    let disk = FakeDisk::new();
    let options = SegmentOptions {
        segment_bytes: 1 << 20,
    };
    let floor = Position {
        segment: 0,
        offset: 0,
    };
    let directory = PathBuf::from("/log");
    let opened = SegmentLog::open(Arc::new(disk.clone()), directory, "log", options, floor);
    let (mut log, _) = opened.expect("an empty disk");
    for block in &fields("blocks", "block")[..3] {
        log.append(1, &[block]).expect("memory");
    }
    log.sync().expect("memory");
    disk.contents(Path::new("/log/00000000.seg"))
        .expect("written")
}
