//! The lock file holds no version with a known remote hole and no new duplicates.
//!
//! The public advisory database lacks several of these and cannot be asked at test time, so the
//! list is ours; each row names its source.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Crate, lowest good version, why.
const MINIMUM: &[(&str, (u64, u64, u64), &str)] = &[
    (
        "libp2p-gossipsub",
        (0, 50, 1),
        "GHSA-vrx6-jcp8-vm7m, GHSA-gc42-3jg7-rxr2, GHSA-xqmp-fxgv-xvq5",
    ),
    ("libp2p-quic", (0, 13, 1), "GHSA-5hq8-qhww-jm7q"),
    ("libp2p-core", (0, 30, 2), "RUSTSEC-2022-0009"),
    ("yamux", (0, 13, 10), "GHSA-vxx9-2994-q338, CVE-2026-31814"),
    ("snow", (0, 9, 5), "RUSTSEC-2024-0011"),
    ("quinn-proto", (0, 11, 15), "RUSTSEC-2026-0185"),
    ("hickory-proto", (0, 26, 1), "RUSTSEC-2026-0119"),
    ("rustls", (0, 23, 18), "RUSTSEC-2024-0399"),
    ("rustls-webpki", (0, 103, 13), "RUSTSEC-2026-0104"),
    ("sha2", (0, 9, 8), "RUSTSEC-2021-0100"),
    ("bytes", (1, 11, 1), "RUSTSEC-2026-0007"),
    ("tokio", (1, 44, 2), "RUSTSEC-2025-0023"),
];

/// Crates that must not appear at all.
const BANNED: &[(&str, &str)] = &[
    ("bincode", "RUSTSEC-2025-0141: unmaintained"),
    ("openssl-sys", "needs a system package"),
    ("protobuf-src", "needs a system package"),
];

/// Crates that are built in more than one version. Lower it when it falls; raise it
/// only with a reason in the commit that does so.
const DUPLICATES_MAX: usize = 22;

fn packages() -> BTreeMap<String, Vec<(u64, u64, u64)>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
    let lock: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
    let mut packages: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for package in lock["package"].as_array().expect("a list of packages") {
        let name = package["name"].as_str().expect("a name").to_owned();
        let version = package["version"].as_str().expect("a version");
        packages.entry(name).or_default().push(numbers(version));
    }
    packages
}

fn numbers(version: &str) -> (u64, u64, u64) {
    let core = version
        .split(['-', '+'])
        .next()
        .expect("split yields one part");
    let mut parts = core.split('.').map(|part| part.parse().expect("a number"));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

#[test]
fn no_version_with_a_known_hole() {
    let packages = packages();
    let mut found = 0;
    for (name, minimum, why) in MINIMUM {
        for version in packages.get(*name).into_iter().flatten() {
            assert!(
                version >= minimum,
                "{name} {version:?} is below {minimum:?}: {why}"
            );
            found += 1;
        }
    }
    assert!(
        found >= 8,
        "only {found} of the listed crates are in the lock file"
    );
    for (name, why) in BANNED {
        assert!(!packages.contains_key(*name), "{name}: {why}");
    }
}

/// Counts what is built, not what the lock file holds for other systems and features.
#[test]
fn duplicates_stay_within_their_budget() {
    let arguments = [
        "tree",
        "--workspace",
        "--duplicates",
        "--depth=0",
        "-e=normal,build",
        "--locked",
    ];
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("names are ASCII");
    let rows: BTreeSet<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, rest)| (name, rest.split(' ').next().unwrap_or_default()))
        .collect();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, version) in rows {
        versions.entry(name).or_default().push(version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    assert!(
        !versions.is_empty(),
        "cargo tree printed nothing that this test understands"
    );
    assert!(
        versions.len() <= DUPLICATES_MAX,
        "{} duplicates, {DUPLICATES_MAX} allowed: {versions:#?}",
        versions.len()
    );
}
