//! The vectors of `spec/vectors/` against the rules: each valid case passes, each other one breaks
//! exactly the rule that it names. Header rules are checked in `consensus/tests/header_vectors.rs`.

use cairn_fixtures::TestChain;
use cairn_protocol::address::{Address, Network};
use cairn_protocol::block::{Block, HeaderRecord};
use cairn_protocol::codec::{DecodeError, decode, encode};
use cairn_protocol::hash::{BlockId, Hash};
use cairn_protocol::ledger::{
    CheckedBlock, Coin, ConnectError, SpendContext, check_spend, check_transaction, spent_coins,
};
use cairn_protocol::limits::{BLOCK_BYTES_MAX, TRANSACTION_BYTES_MAX};
use cairn_protocol::lock::Lock;
use cairn_protocol::rules::Violation;
use cairn_protocol::signature::{
    Ed25519, PublicKey, Signature, SignatureJob, SignatureScheme, verify_single,
};
use cairn_protocol::spec::ChainParams;
use cairn_protocol::transaction::{OutPoint, Output, SighashBase, Transaction};
use cairn_protocol::units::Amount;
use cairn_protocol::wire::{
    CompactBlock, Goodbye, ShortId, Status, SyncRequest, SyncResponse, TxBatch, short_id,
    short_id_key,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/vectors")
}

fn file(name: &str) -> Value {
    let path = folder().join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn cases(file: &Value) -> &Vec<Value> {
    file["cases"].as_array().expect("a list of cases")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} is no text in {value}"))
}

fn bytes(value: &Value, key: &str) -> Vec<u8> {
    hex::decode(text(value, key)).unwrap()
}

fn array<const N: usize>(value: &Value, key: &str) -> [u8; N] {
    bytes(value, key).try_into().unwrap()
}

/// Compares a verdict with a case's; says how many cases broke a rule.
fn judge(case: &Value, found: Result<(), &'static str>) -> usize {
    let (rule, valid) = (text(case, "rule"), case["valid"].as_bool().unwrap());
    let expected = if valid { Ok(()) } else { Err(rule) };
    assert_eq!(found, expected, "{}", text(case, "name"));
    usize::from(!valid)
}

/// The kind that `rules.toml` gives a rule is what the code does with it.
fn check_kind(violation: &Violation) {
    let path = folder().join("../rules.toml");
    let rules: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let mut rules = rules["rule"].as_array().unwrap().iter();
    let rule = rules
        .find(|rule| rule["id"].as_str() == Some(violation.id()))
        .unwrap();
    let kind = match (violation.is_mutation(), violation.is_temporary()) {
        (true, false) => "mutation",
        (false, true) => "refused",
        (false, false) => "invalid",
        (true, true) => panic!("{violation} is two kinds"),
    };
    assert_eq!(rule["kind"].as_str(), Some(kind), "{violation}");
}

#[test]
fn files_are_what_the_generator_writes() {
    let generated = cairn_fixtures::vectors::all();
    for (name, expected) in &generated {
        let found = std::fs::read_to_string(folder().join(name)).unwrap_or_default();
        assert!(
            found == *expected,
            "{name} is stale: cargo run -p cairn-fixtures --bin vectors"
        );
    }
    // Every other file belongs to the reference in Python, which checks its own.
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let ours = generated.iter().any(|(known, _)| *known == name);
        assert!(ours || name == "asert.json", "{name} has no generator");
    }
}

#[test]
fn encodings() {
    fn read<T: Serialize + DeserializeOwned>(bytes: &[u8], max: usize) -> Result<(), DecodeError> {
        decode::<T>(bytes, max).map(|value| assert_eq!(encode(&value), bytes))
    }
    let file = file("encoding.json");
    let mut broken = 0;
    for case in cases(&file) {
        let bytes = bytes(case, "bytes");
        let max = case["bytes_max"].as_u64().unwrap() as usize;
        let outcome = match text(case, "type") {
            "goodbye" => read::<Goodbye>(&bytes, max),
            "transaction" => read::<Transaction>(&bytes, max),
            "lock" => read::<Lock>(&bytes, max),
            "coin" => read::<Coin>(&bytes, max),
            "tx_batch" => read::<TxBatch>(&bytes, max),
            "sync_request" => read::<SyncRequest>(&bytes, max),
            "sync_response" => read::<SyncResponse>(&bytes, max),
            "header_record" => read::<HeaderRecord>(&bytes, max),
            other => panic!("unknown type {other}"),
        };
        broken += judge(case, outcome.map_err(|error| error.id()));
    }
    assert!(broken >= 25, "{broken} cases break a rule");
}

#[test]
fn messages() {
    fn check<T: Serialize + DeserializeOwned>(case: &Value) {
        let bytes = bytes(case, "bytes");
        let value: T = decode(&bytes, bytes.len()).unwrap();
        assert_eq!(serde_json::to_value(&value).unwrap(), case["fields"]);
        let read: T = serde_json::from_value(case["fields"].clone()).unwrap();
        assert_eq!(encode(&read), bytes, "{}", text(case, "name"));
    }
    let file = file("messages.json");
    for case in cases(&file) {
        match text(case, "type") {
            "status" => check::<Status>(case),
            "goodbye" => check::<Goodbye>(case),
            "sync_request" => check::<SyncRequest>(case),
            "sync_response" => check::<SyncResponse>(case),
            "tx_batch" => check::<TxBatch>(case),
            other => panic!("unknown type {other}"),
        }
    }
    assert!(cases(&file).len() >= 30);
}

#[test]
fn addresses() {
    let file = file("addresses.json");
    let mut broken = 0;
    for case in cases(&file) {
        let network: Network = serde_json::from_value(case["network"].clone()).unwrap();
        let outcome = Address::parse(text(case, "text"), network);
        if let Ok(address) = &outcome {
            assert_eq!(address.key_hash.to_hex(), text(case, "key_hash"));
            assert_eq!(address.to_string(), text(case, "text").to_lowercase());
        }
        broken += judge(case, outcome.map(|_| ()).map_err(|error| error.id()));
    }
    assert!(broken >= 12, "{broken} cases break a rule");
}

#[test]
fn signatures() {
    let file = file("signatures.json");
    let mut jobs = Vec::new();
    for case in cases(&file) {
        let job = SignatureJob {
            key: PublicKey(array(case, "key")),
            signature: Signature(array(case, "signature")),
            message: array(case, "message"),
        };
        let valid = case["valid"].as_bool().unwrap();
        assert_eq!(verify_single(&job), valid, "{}", text(case, "name"));
        jobs.push((job, valid));
    }
    // V12: in a batch with valid ones, every case has the verdict that it has alone.
    let good: Vec<_> = jobs
        .iter()
        .filter(|(_, valid)| *valid)
        .map(|(job, _)| *job)
        .collect();
    assert_eq!(Ed25519.verify(&good), Ok(()));
    for (job, valid) in &jobs {
        let batch = [good[0], *job, good[1]];
        let expected = if *valid { Ok(()) } else { Err(1) };
        assert_eq!(Ed25519.verify(&batch), expected);
    }
    let small: Vec<_> = cases(&file)
        .iter()
        .filter(|case| text(case, "name").starts_with("small order"))
        .collect();
    assert_eq!(small.len(), 14 * 14);
    assert!(small.iter().all(|case| case["valid"] == true));
    for key in file["keys"].as_array().unwrap() {
        let seed: [u8; 32] = array(key, "seed");
        let number = u64::from_le_bytes(*seed.first_chunk().unwrap());
        let public = cairn_fixtures::TestKey::new(number).public();
        assert_eq!(hex::encode(public.0), text(key, "public"));
    }
}

#[test]
fn transaction_ids() {
    let file = file("transaction_ids.json");
    let chain_id: BlockId = text(&file, "chain_id").parse().unwrap();
    for case in cases(&file) {
        let bytes = bytes(case, "transaction");
        let tx: Transaction = decode(&bytes, TRANSACTION_BYTES_MAX).unwrap();
        assert_eq!(serde_json::to_value(&tx).unwrap(), case["fields"]);
        let ids = tx.ids();
        assert_eq!(ids.txid.to_hex(), text(case, "txid"));
        assert_eq!(ids.wtxid.to_hex(), text(case, "wtxid"));
        assert_eq!(Some(ids.weight), case["weight"].as_u64());
        assert_eq!(Some(ids.bytes), case["bytes"].as_u64());
        let spent: Vec<Output> = case["spent"]
            .as_array()
            .unwrap()
            .iter()
            .map(|output| decode(&hex::decode(output.as_str().unwrap()).unwrap(), 1_000).unwrap())
            .collect();
        let base = SighashBase::new(chain_id, ids.txid, &spent);
        for (index, expected) in (0..).zip(case["sighashes"].as_array().unwrap()) {
            assert_eq!(
                Some(hex::encode(base.sighash(index)).as_str()),
                expected.as_str()
            );
        }
    }
}

#[test]
fn transactions() {
    let file = file("transactions.json");
    let params = ChainParams::from_toml(text(&file, "spec")).unwrap();
    assert_eq!(params.chain_id().to_hex(), text(&file, "chain_id"));
    let mut broken = 0;
    for case in cases(&file) {
        broken += judge(
            case,
            spend(&params, case).map_err(|violation| {
                check_kind(&violation);
                violation.id()
            }),
        );
    }
    assert!(broken >= 60, "{broken} cases break a rule");
}

fn spend(params: &ChainParams, case: &Value) -> Result<(), Violation> {
    let tx: Transaction = decode(&bytes(case, "transaction"), TRANSACTION_BYTES_MAX).unwrap();
    let ids = check_transaction(&tx, params.limits())?;
    let coin = |hex: &Value| -> Option<Coin> {
        Some(decode(&hex::decode(hex.as_str()?).unwrap(), 10_000).unwrap())
    };
    let listed = case["coins"].as_array().unwrap().iter().map(coin);
    let view: BTreeMap<OutPoint, Coin> = tx
        .inputs
        .iter()
        .zip(listed)
        .filter_map(|(outpoint, coin)| Some((*outpoint, coin?)))
        .collect();
    let context = SpendContext {
        chain_id: params.chain_id(),
        limits: params.limits(),
        height: case["height"].as_u64().unwrap(),
        parent_time: case["parent_time"].as_u64().unwrap() as u32,
    };
    let coins = spent_coins(&tx, &view).map_err(|error| match error {
        ConnectError::Invalid(violation) => violation,
        ConnectError::Fault(fault) => panic!("{fault}"),
    })?;
    let spend = check_spend(&context, &tx, &ids, &coins, false)?;
    // What is known to be signed keeps every rule but the signatures'.
    assert_eq!(
        check_spend(&context, &tx, &ids, &coins, true).unwrap().fee,
        spend.fee
    );
    if let Err(bad) = Ed25519.verify(&spend.signatures) {
        let input = spend.signature_inputs[bad] as usize;
        return Err(Violation::BadSignature { input });
    }
    assert_eq!(spend.fee.to_string(), text(case, "fee"));
    Ok(())
}

#[test]
fn blocks() {
    let file = file("blocks.json");
    let mut chain = TestChain::new(ChainParams::from_toml(text(&file, "spec")).unwrap());
    let block = |hex: &str| Block::from_bytes(&hex::decode(hex).unwrap()).unwrap();
    for setup in file["setup"].as_array().unwrap() {
        chain.connect(block(setup.as_str().unwrap()));
    }
    assert_eq!(
        chain.state().root().to_hex(),
        text(&file, "state_root_after_setup")
    );
    let mut broken = 0;
    for case in cases(&file) {
        let block = block(text(case, "block"));
        let target = block.header.bits.to_target().unwrap();
        let digest = chain.params().timing().pow_function;
        assert!(
            digest.digest(&block.header.to_bytes()) <= target,
            "{}",
            text(case, "name")
        );
        let outcome = chain
            .try_connect(block)
            .map(|_| ())
            .map_err(|error| match error {
                ConnectError::Invalid(violation) => {
                    check_kind(&violation);
                    violation.id()
                }
                ConnectError::Fault(fault) => panic!("{fault}"),
            });
        broken += judge(case, outcome);
    }
    assert!(broken >= 25, "{broken} cases break a rule");
}

#[test]
fn sealed_blocks() {
    let file = file("sealed_blocks.json");
    let mut chain = TestChain::new(ChainParams::from_toml(text(&file, "spec")).unwrap());
    let block = |hex: &str| Block::from_bytes(&hex::decode(hex).unwrap()).unwrap();
    let mut chains = vec![chain.clone()];
    for setup in file["setup"].as_array().unwrap() {
        chain.connect(block(setup.as_str().unwrap()));
        chains.push(chain.clone());
    }
    assert_eq!(
        chain.state().root().to_hex(),
        text(&file, "state_root_after_setup")
    );
    let mut broken = 0;
    for case in cases(&file) {
        let mut chain = chains[case["after"].as_u64().unwrap() as usize].clone();
        chain.add_offences(case["offences"].as_u64().unwrap() as usize);
        let outcome = chain
            .try_connect(block(text(case, "block")))
            .map(|_| ())
            .map_err(|error| match error {
                ConnectError::Invalid(violation) => {
                    check_kind(&violation);
                    violation.id()
                }
                ConnectError::Fault(fault) => panic!("{fault}"),
            });
        broken += judge(case, outcome);
    }
    assert!(broken >= 18, "{broken} cases break a rule");
}

#[test]
fn chain_specifications() {
    let file = file("chains.json");
    for case in cases(&file) {
        let params = ChainParams::from_toml(text(case, "toml")).unwrap();
        assert_eq!(params.spec_hash().to_hex(), text(case, "spec_hash"));
        assert_eq!(params.chain_id().to_hex(), text(case, "chain_id"));
        assert_eq!(params.ruleset_id(1).to_hex(), text(case, "ruleset_id"));
        let genesis = Block::from_bytes(&bytes(case, "genesis")).unwrap();
        assert_eq!(genesis.id(), params.chain_id());
        assert_eq!(
            params.genesis_state().root().to_hex(),
            text(case, "genesis_state_root")
        );
    }
    assert_eq!(cases(&file).len(), 5);
}

#[test]
fn compact_blocks() {
    let file = file("compact.json");
    for case in cases(&file) {
        let id: BlockId = text(case, "block_id").parse().unwrap();
        let wtxid = text(case, "wtxid").parse().unwrap();
        let found = short_id(short_id_key(&id), &wtxid);
        assert_eq!(hex::encode(found.0), text(case, "short_id"));
    }
    let whole = &file["whole"];
    let block = Block::from_bytes(&bytes(whole, "block")).unwrap();
    let compact: CompactBlock = decode(&bytes(whole, "compact_block"), BLOCK_BYTES_MAX).unwrap();
    assert!(compact.is_bound());
    assert_eq!(compact.record(), block.record());
    let known: BTreeMap<ShortId, Transaction> = block
        .transactions
        .iter()
        .map(|tx| (short_id(short_id_key(&block.id()), &tx.wtxid()), tx.clone()))
        .collect();
    let rebuilt = compact.clone().reconstruct(|id| {
        let tx = known.get(id)?;
        Some((tx.clone().into(), tx.ids()))
    });
    assert_eq!(rebuilt.block().map(|(whole, _)| whole), Some(block.clone()));
    let mut empty = compact.reconstruct(|_| None);
    assert_eq!(empty.missing(), vec![0]);
    assert!(!empty.fill(Vec::new()));
    assert!(empty.fill(block.transactions.clone()));
    let (rebuilt, ids) = empty.block().unwrap();
    let checked = CheckedBlock::with_ids(rebuilt, ids, TestChain::easy(1).params().limits());
    assert!(checked.is_ok());
}

#[test]
fn subsidies() {
    let file = file("subsidy.json");
    let params = cairn_protocol::spec::builtin::by_name("testnet").unwrap();
    for case in cases(&file) {
        let issued = Amount(text(case, "issued").parse().unwrap());
        let found = params.subsidy(case["height"].as_u64().unwrap(), issued);
        assert_eq!(found.to_string(), text(case, "subsidy"));
    }
}

/// The header of every case of `headers.json` that lists ids.
#[test]
fn header_ids() {
    let file = file("headers.json");
    for case in file["ids"].as_array().unwrap() {
        let bytes: [u8; 80] = array(case, "header");
        let header = cairn_protocol::header::Header::from_bytes(&bytes);
        assert_eq!(header.id().to_hex(), text(case, "id"));
        assert_eq!(header.root, text(case, "root").parse::<Hash>().unwrap());
        assert_eq!(Some(u64::from(header.nonce)), case["nonce"].as_u64());
    }
}
