//! The command line as a user types it.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    wallet: WalletArgs,
}

fn parse(line: &str) -> Result<WalletArgs, clap::Error> {
    let words = std::iter::once("wallet").chain(line.split_whitespace());
    Cli::try_parse_from(words).map(|cli| cli.wallet)
}

fn run_line(root: &Path, line: &str) -> Result<Outcome, WalletError> {
    std::fs::write(root.join("password"), "hunter2\n").unwrap();
    // Port 9 (discard) has no listener: every node command must say so.
    let tail = format!(
        "--data-dir {0}/w --password-file {0}/password --api http://127.0.0.1:9",
        root.display()
    );
    answer(parse(&format!("{line} {tail}")).unwrap())
}

#[test]
fn every_command_of_the_interface_is_there() {
    for line in [
        "new",
        "restore",
        "list",
        "address",
        "balance",
        "send dcrn1x 1.5",
        "send dcrn1x 1.5 --fee-rate 1000",
        "send dcrn1x 1.5 --target 2",
        "history",
        "export-watch",
    ] {
        assert!(parse(line).is_ok(), "{line}");
        assert!(
            parse(&format!("{line} --data-dir D --api http://x --json")).is_ok(),
            "{line}"
        );
        assert!(
            parse(&format!("--data-dir D --json {line}")).is_ok(),
            "{line}"
        );
    }
    for line in [
        "",
        "send",
        "send dcrn1x",
        "pay",
        "send a 1 --fee-rate 1 --target 2",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn a_wallet_is_made_shown_and_extended_without_a_node() {
    let root = tempfile::tempdir().unwrap();
    let made = run_line(root.path(), "new --network testnet").unwrap().json;
    assert_eq!(made["words"].as_str().unwrap().split(' ').count(), 24);
    let first = run_line(root.path(), "address").unwrap().json;
    assert_eq!(first, json!({"address": made["address"]}));
    let second = run_line(root.path(), "address --new --label rent")
        .unwrap()
        .json;
    assert_ne!(second, first);
    assert_eq!(run_line(root.path(), "address").unwrap().json, second);
    let listed = run_line(root.path(), "list").unwrap().json;
    assert_eq!(listed["addresses"][0]["address"], first["address"]);
    assert_eq!(listed["addresses"][1]["label"], "rent");
    let watch = run_line(root.path(), "export-watch").unwrap().json;
    assert_eq!(watch["network"], "testnet");
    assert_eq!(watch["addresses"].as_array().unwrap().len(), 2);
    assert!(!watch.to_string().contains("label"), "labels are private");
    assert!(matches!(
        run_line(root.path(), "new"),
        Err(WalletError::Exists(_))
    ));
}

#[test]
fn the_words_bring_the_same_address_back() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let made = run_line(old.path(), "new --network devnet").unwrap().json;
    let words = new.path().join("words");
    std::fs::write(&words, made["words"].as_str().unwrap()).unwrap();
    let line = format!("restore --network devnet --words-file {}", words.display());
    let restored = run_line(new.path(), &line).unwrap().json;
    assert_eq!(restored["address"], made["address"]);
    assert_eq!(restored["searched"], false);
}

#[test]
fn wrong_recipients_and_amounts_are_wrong_usage() {
    let root = tempfile::tempdir().unwrap();
    let other = run_line(root.path(), "new --network devnet").unwrap().json;
    let mine = other["address"].as_str().unwrap().to_owned();
    let testnet = Address {
        network: Network::Testnet,
        key_hash: Default::default(),
    }
    .to_string();
    for (line, expected) in [
        (
            format!("send {testnet} 1"),
            "is an address of testnet: expected one of devnet",
        ),
        ("send nonsense 1".to_owned(), "is no address"),
        (format!("send {mine} 1.123456789"), "is no amount of CRN"),
        (format!("send {mine} -1"), "is no amount of CRN"),
        (format!("send {mine} 1e3"), "is no amount of CRN"),
    ] {
        let error = run_line(root.path(), &line).err().unwrap();
        assert!(
            error.is_usage() && error.to_string().contains(expected),
            "{line}: {error}"
        );
    }
}

#[test]
fn a_missing_node_and_a_wrong_password_are_failures() {
    let root = tempfile::tempdir().unwrap();
    run_line(root.path(), "new --network devnet").unwrap();
    for line in ["balance", "history"] {
        let error = run_line(root.path(), line).err().unwrap();
        assert!(
            !error.is_usage() && error.to_string().contains("127.0.0.1:9"),
            "{error}"
        );
    }
    std::fs::write(root.path().join("wrong"), "hunter3").unwrap();
    let line = format!(
        "address --new --data-dir {0}/w --password-file {0}/wrong",
        root.path().display()
    );
    let error = answer(parse(&line).unwrap()).err().unwrap();
    assert_eq!(
        (error.to_string().as_str(), error.is_usage()),
        ("wrong password", false)
    );
}
