//! `cairn wallet` as a process: exit codes, one JSON document on standard output, no secret in
//! anything that is printed (catalogue row K03).

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const PASSWORD: &str = "correct-horse-battery";

/// Runs one wallet command against a port without a listener (discard).
fn wallet(root: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cairn"))
        .arg("wallet")
        .args(arguments)
        .args(["--api", "http://127.0.0.1:9", "--json", "--data-dir"])
        .arg(root.join("wallet"))
        .env("CAIRN_WALLET_PASSWORD", PASSWORD)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn done_is_0_failed_is_1_and_wrong_usage_is_2() {
    let root = tempfile::tempdir().unwrap();
    let made = json(&wallet(root.path(), &["new", "--network", "devnet"]));
    let words = made["words"].as_str().unwrap();
    let address = made["address"].as_str().unwrap();
    assert!(address.starts_with("dcrn1"), "{address}");
    assert_eq!(
        json(&wallet(root.path(), &["address"])),
        serde_json::json!({"address": address})
    );
    let fresh = json(&wallet(root.path(), &["address", "--new"]));
    assert_ne!(fresh["address"], made["address"]);

    let other = tempfile::tempdir().unwrap();
    let foreign = json(&wallet(other.path(), &["new", "--network", "testnet"]));
    let foreign = foreign["address"].as_str().unwrap();
    for (arguments, code, told) in [
        (&["send", foreign, "1"][..], 2, "testnet"),
        (&["send", address, "1.123456789"], 2, "1.123456789"),
        (&["send", address], 2, "AMOUNT"),
        (&["frobnicate"], 2, "frobnicate"),
        (&["balance"], 1, "127.0.0.1:9"),
        (&["send", address, "1"], 1, "127.0.0.1:9"),
        (&["new"], 1, "holds a wallet already"),
    ] {
        let output = wallet(root.path(), arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(told), "{arguments:?}: {errors}");
        assert!(output.stdout.is_empty(), "{arguments:?} printed something");
        assert!(
            !errors.contains(PASSWORD) && !errors.contains(words),
            "a secret is printed"
        );
    }
}

#[test]
fn without_a_password_and_a_terminal_nothing_is_asked() {
    let root = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_cairn"))
        .args(["wallet", "new", "--network", "devnet", "--data-dir"])
        .arg(root.path().join("wallet"))
        .env_remove("CAIRN_WALLET_PASSWORD")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("--password-file"), "{errors}");
    assert!(!root.path().join("wallet").exists(), "nothing was made");
}

#[test]
fn a_wrong_password_is_told_and_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    json(&wallet(root.path(), &["new", "--network", "devnet"]));
    let state = root.path().join("wallet/wallet.json");
    let before = std::fs::read(&state).unwrap();
    let wrong = root.path().join("wrong");
    std::fs::write(&wrong, "incorrect-horse").unwrap();
    let wrong = wrong.to_str().unwrap();
    let output = wallet(root.path(), &["address", "--new", "--password-file", wrong]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors.contains("wrong password") && !errors.contains("horse"),
        "{errors}"
    );
    assert_eq!(std::fs::read(&state).unwrap(), before);
}
