//! `spec/database/vectors.json` and the rules of `spec/13-database.md` are what this program does.
//!
//! `CAIRN_WRITE_VECTORS=1 cargo test -p cairn-database --test spec_vectors` writes the file again.

use cairn_database::entry::{
    Change, CommitTs, Entry, EntryBuilder, EntryError, Incarnation, Kind, Membership, Origin,
    RULES, Resolution, Seed, Stamp, StorageId, TransactionId,
};
use cairn_database::tree::{
    Frontier, Hash, leaf_hash, prove_consistency, prove_inclusion, root_of, verify_consistency,
    verify_inclusion,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;

fn spec(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../spec")
        .join(path)
}

fn stamp(commit_ts: u64) -> Stamp {
    Stamp {
        incarnation: Incarnation([0xaa; 16]),
        commit_ts: CommitTs(commit_ts),
        closed_ts: CommitTs(commit_ts - 1),
        wall_ms: 1_700_000_000_123,
        schema_version: 3,
        ..Stamp::default()
    }
}

fn entry(kind: Kind, seed: Seed, changes: &[Change<'_>], at: u64) -> Vec<u8> {
    let mut builder = EntryBuilder::new(kind, seed);
    for change in changes {
        builder.push(change).expect("a vector is an entry");
    }
    builder.finish(stamp(at)).expect("a vector is an entry")
}

fn row<'a>(storage: u64, key: &'a [u8], row: &'a [u8]) -> Change<'a> {
    let storage = StorageId(storage);
    Change::RowPut { storage, key, row }
}

/// Entries of each kind with every change.
fn good() -> Vec<(&'static str, Vec<u8>)> {
    let txn = TransactionId([0xbb; 16]);
    let storage = StorageId(300);
    let all = [
        Change::CatalogPut {
            key: b"t1",
            row: b"table",
        },
        Change::CatalogDelete { key: b"t2" },
        Change::Sequence {
            id: 9,
            reserved: -32,
        },
        Change::Horizon(CommitTs(2)),
        row(3, b"a", b"1"),
        Change::RowDelete {
            storage: StorageId(3),
            key: b"b",
        },
        Change::IndexPut {
            storage,
            key: b"k",
            value: b"",
        },
        Change::IndexDelete { storage, key: b"l" },
        Change::Notify {
            channel: "jobs",
            payload: "42",
        },
    ];
    let origin = Origin {
        incarnation: Incarnation([0xcc; 16]),
        size: 300,
        root: [0xdd; 32],
    };
    let alone = Change::Membership(Membership::alone(*b"node", None));
    let restored = Change::Membership(Membership::alone(*b"node", Some(origin)));
    let mut joint = Membership::alone(*b"a", None);
    joint.configs.push([b"a".to_vec(), b"b".to_vec()].into());
    joint.learners.insert(b"c".to_vec());
    let resolve = |resolution| Kind::Resolve { txn, resolution };
    let commit = Resolution::Commit {
        commit_ts: CommitTs(8),
        parts: 2,
    };
    vec![
        (
            "a membership of one",
            entry(Kind::Membership, [1; 16], &[alone], 1),
        ),
        (
            "a membership after a restore",
            entry(Kind::Membership, [1; 16], &[restored], 1),
        ),
        (
            "a joint membership",
            entry(Kind::Membership, [1; 16], &[Change::Membership(joint)], 9),
        ),
        ("every change", entry(Kind::Commit, [2; 16], &all, 5)),
        ("no change", entry(Kind::Commit, [2; 16], &[], 6)),
        (
            "a prewrite",
            entry(Kind::Prewrite { txn, part: 1 }, [3; 16], &all[4..6], 7),
        ),
        (
            "a commit of two parts",
            entry(resolve(commit), [0; 16], &[], 8),
        ),
        (
            "an abort",
            entry(resolve(Resolution::Abort), [0; 16], &[], 9),
        ),
    ]
}

/// One place of an entry changed.
fn with(bytes: &[u8], at: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + value.len()].copy_from_slice(value);
    bytes
}

/// Bytes that break a rule each. (ENT-01 needs 4 MiB; ENT-11 to ENT-13 are between entries.)
fn bad() -> Vec<(&'static str, Vec<u8>)> {
    let two = [row(1, b"a", b"x"), row(1, b"b", b"y")];
    let two = entry(Kind::Commit, [4; 16], &two, 9);
    let long = entry(Kind::Commit, [4; 16], &[row(1, &[b'k'; 200], b"x")], 9);
    vec![
        ("ENT-02", two[..two.len() - 1].to_vec()),
        ("ENT-03", with(&two, 2, &[1])),
        ("ENT-03", with(&long, 130, &[0x80, 0x00])),
        ("ENT-04", with(&two, 0, &[2])),
        ("ENT-05", with(&two, 1, &[4])),
        ("ENT-05", with(&two, 128, &[10])),
        ("ENT-06", with(&long, 130, &[0x81, 0x80, 0x01])),
        ("ENT-07", with(&two, 4, &[3])),
        ("ENT-07", [&two[..], &[0]].concat()),
        ("ENT-08", with(&two, two.len() - 1, b"z")),
        ("ENT-09", with(&two, two.len() - 3, b"a")),
        ("ENT-10", with(&two, 1, &[3])),
    ]
}

fn hexes(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(hex::encode).collect()
}

fn entry_case(name: &str, bytes: &[u8]) -> Value {
    let entry = Entry::decode(bytes).expect("a vector is an entry");
    let proofs = (0..entry.header.changes).map(|index| {
        let proof = entry.prove(index).expect("the change is there");
        proof.verify(&entry.header).expect("it is proven");
        json!({
            "salt": hex::encode(proof.salt),
            "change": hex::encode(&proof.change),
            "path": hexes(&proof.path),
        })
    });
    json!({
        "name": name,
        "bytes": hex::encode(bytes),
        "header_bytes": entry.header_bytes().len(),
        "changes": proofs.collect::<Vec<_>>(),
        "changes_root": hex::encode(entry.header.changes_root),
        "leaf": hex::encode(entry.leaf()),
    })
}

/// Trees over the headers of the good entries, then over counted leaves.
fn tree_case(leaves: &[Hash]) -> Value {
    let root = root_of(leaves);
    let size = leaves.len() as u64;
    let mut frontier = Frontier::default();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    let inclusion = (0..size).map(|index| {
        let path = prove_inclusion(index, leaves);
        let leaf = &leaves[index as usize];
        verify_inclusion(leaf, index, size, &path, &root).expect("it is in the tree");
        hexes(&path)
    });
    let consistency = (1..=size).map(|old| {
        let path = prove_consistency(old, leaves);
        let old_root = root_of(&leaves[..old as usize]);
        verify_consistency(old, size, &old_root, &root, &path).expect("it is the beginning");
        hexes(&path)
    });
    json!({
        "size": size,
        "root": hex::encode(root),
        "frontier": hex::encode(frontier.to_bytes()),
        "inclusion": inclusion.collect::<Vec<_>>(),
        "consistency_from_1": consistency.collect::<Vec<_>>(),
    })
}

fn generated() -> String {
    let good = good();
    let entries: Vec<_> = good
        .iter()
        .map(|(name, bytes)| entry_case(name, bytes))
        .collect();
    let bad = bad();
    let broken = bad
        .iter()
        .map(|(rule, bytes)| json!({"rule": rule, "bytes": hex::encode(bytes)}));
    let counted: Vec<Hash> = (0..13u8).map(|leaf| leaf_hash(&[&[leaf]])).collect();
    let trees: Vec<_> = (0..=counted.len())
        .map(|size| tree_case(&counted[..size]))
        .collect();
    let file = json!({
        "about": "Entries, entries that break one rule, and trees whose leaf i is the one byte i.",
        "entries": entries,
        "broken": broken.collect::<Vec<_>>(),
        "trees": trees,
    });
    serde_json::to_string_pretty(&file).expect("it is JSON") + "\n"
}

#[test]
fn the_vectors_are_what_the_program_does() {
    let path = spec("database/vectors.json");
    let generated = generated();
    if std::env::var_os("CAIRN_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &generated).expect("writes");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == generated, "{} is stale", path.display());
}

#[test]
fn broken_entries_are_refused_by_their_rule() {
    for (rule, bytes) in bad() {
        let told = Entry::decode(&bytes).err().map(|error| error.rule());
        assert_eq!(told, Some(rule), "{}", hex::encode(bytes));
    }
}

/// The chapter, the errors and the vectors name the same rules.
#[test]
fn the_rules_are_one_set() {
    let chapter = std::fs::read_to_string(spec("13-database.md")).expect("reads");
    let rows = chapter
        .lines()
        .filter_map(|line| line.strip_prefix("| ENT-"));
    let written: Vec<String> = rows.map(|row| format!("ENT-{}", &row[..2])).collect();
    assert_eq!(written, RULES);
    let elsewhere = ["ENT-01", "ENT-11", "ENT-12", "ENT-13"];
    let broken = bad().into_iter().map(|(rule, _)| rule).chain(elsewhere);
    assert_eq!(broken.collect::<BTreeSet<_>>(), BTreeSet::from(RULES));
    let text = EntryError::Root.to_string();
    assert!(text.contains("ENT-08"), "an error names its rule: {text}");
}
