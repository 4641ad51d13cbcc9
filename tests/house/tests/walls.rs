//! Dependencies between members go only as `ARCHITECTURE.md` draws them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each member and the members that it may depend on.
const ALLOWED: &[(&str, &[&str])] = &[
    ("cairn-protocol", &[]),
    ("cairn-consensus", &["cairn-protocol"]),
    ("cairn-miner", &["cairn-protocol"]),
    ("cairn-storage", &["cairn-protocol"]),
    ("cairn-network", &["cairn-protocol"]),
    ("cairn-database", &["cairn-protocol", "cairn-storage"]),
    (
        "cairn-node",
        &[
            "cairn-protocol",
            "cairn-consensus",
            "cairn-miner",
            "cairn-storage",
            "cairn-network",
            "cairn-database",
        ],
    ),
    (
        "cairn-sim",
        &[
            "cairn-protocol",
            "cairn-consensus",
            "cairn-storage",
            "cairn-fixtures",
        ],
    ),
    (
        "cairn-bft",
        &["cairn-protocol", "cairn-consensus", "cairn-sim"],
    ),
    (
        "cairn-model",
        &[
            "cairn-protocol",
            "cairn-consensus",
            "cairn-sim",
            "cairn-bft",
        ],
    ),
    ("cairn-fixtures", &["cairn-protocol"]),
    ("cairn-house", &[]),
];

/// Members that only tests use.
const TEST_ONLY: &[&str] = &[
    "cairn-fixtures",
    "cairn-sim",
    "cairn-bft",
    "cairn-model",
    "cairn-house",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> toml::Table {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.parse()
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn members() -> BTreeMap<String, toml::Table> {
    let workspace = read(&root().join("Cargo.toml"));
    let members = workspace["workspace"]["members"]
        .as_array()
        .expect("a list of members");
    let manifest = |member: &toml::Value| {
        let path = root()
            .join(member.as_str().expect("a path"))
            .join("Cargo.toml");
        let table = read(&path);
        (
            table["package"]["name"]
                .as_str()
                .expect("a name")
                .to_owned(),
            table,
        )
    };
    members.iter().map(manifest).collect()
}

fn own_dependencies(manifest: &toml::Table, section: &str) -> Vec<String> {
    let table = manifest.get(section).and_then(|section| section.as_table());
    let names = table.into_iter().flat_map(|table| table.keys());
    names
        .filter(|name| name.starts_with("cairn-"))
        .cloned()
        .collect()
}

#[test]
fn members_depend_as_drawn() {
    let members = members();
    let mut checked = 0;
    for (name, manifest) in &members {
        let (_, allowed) = ALLOWED
            .iter()
            .find(|(member, _)| member == name)
            .unwrap_or_else(|| panic!("{name} is not in the drawing: add it there and here"));
        for dependency in own_dependencies(manifest, "dependencies") {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{name} must not depend on {dependency}"
            );
            let test_only = TEST_ONLY.contains(&dependency.as_str());
            assert!(
                !test_only || TEST_ONLY.contains(&name.as_str()),
                "{name} uses {dependency}"
            );
            checked += 1;
        }
    }
    assert!(checked >= 8, "the house has more doors than {checked}");
}

/// Heavy trees stay behind their own walls, so that the pure crates build in seconds.
#[test]
fn heavy_dependencies_stay_where_they_belong() {
    const HEAVY: &[(&str, &[&str])] = &[
        ("libp2p", &["cairn-network"]),
        ("libp2p-stream", &["cairn-network"]),
        ("axum", &["cairn-node"]),
        ("tokio", &["cairn-network", "cairn-node", "cairn-database"]),
        (
            "redb",
            &["cairn-storage", "cairn-network", "cairn-database"],
        ),
        ("rayon", &["cairn-miner"]),
        ("clap", &["cairn-node"]),
    ];
    for (name, manifest) in members() {
        let Some(dependencies) = manifest.get("dependencies").and_then(|d| d.as_table()) else {
            continue;
        };
        for (heavy, homes) in HEAVY {
            let has = dependencies.contains_key(*heavy);
            assert!(
                !has || homes.contains(&name.as_str()),
                "{name} must not depend on {heavy}"
            );
        }
    }
}

/// Nothing of a clock, a socket, a task or a random source stands in the pure crates.
#[test]
fn pure_crates_are_pure() {
    const FORBIDDEN: &[&str] = &[
        "SystemTime",
        "Instant::",
        "std::net",
        "std::fs",
        "std::env",
        "std::thread",
        "tokio",
        "thread_rng",
        "rand::",
        "async fn",
    ];
    let mut files = 0;
    for member in ["protocol", "consensus"] {
        for path in rust_files(&root().join(member).join("src")) {
            let text = fs::read_to_string(&path).unwrap();
            for (number, line) in text.lines().enumerate() {
                let code = line.trim_start();
                if code.starts_with("//") {
                    continue;
                }
                for word in FORBIDDEN {
                    let at = format!("{}:{}", path.display(), number + 1);
                    assert!(!code.contains(word), "{at} has `{word}`: {code}");
                }
            }
            files += 1;
        }
    }
    assert!(files > 20, "only {files} files were read");
}

/// Every source file says what it is in its first line.
#[test]
fn files_open_with_their_purpose() {
    for (_, path) in source_files() {
        let text = fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap_or_default();
        let ok = first.starts_with("//!") || first.starts_with("#!");
        assert!(ok, "{} does not open with `//!`", path.display());
    }
}

fn source_files() -> Vec<(String, PathBuf)> {
    let workspace = read(&root().join("Cargo.toml"));
    let members = workspace["workspace"]["members"]
        .as_array()
        .expect("a list of members");
    let mut files = Vec::new();
    for member in members {
        let member = member.as_str().expect("a path");
        for path in rust_files(&root().join(member)) {
            files.push((member.to_owned(), path));
        }
    }
    assert!(files.len() > 50, "only {} files", files.len());
    files
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("target") {
                files.extend(rust_files(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
