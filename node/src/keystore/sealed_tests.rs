//! Catalogue rows K01 (damage, truncation, wrong password, weak parameters) and K03 (no secret in
//! what is printed).

use std::path::PathBuf;

use serde_json::json;

use super::*;

struct Fixture {
    _root: tempfile::TempDir,
    path: PathBuf,
}

fn password(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

fn sealed(secret: &[u8], word: &str) -> Fixture {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("keystore.json");
    let protection = password(word);
    KeystoreFile::create(
        &path,
        Network::Testnet,
        &Secret::new(secret.to_vec()),
        Protection::Password(&protection),
    )
    .unwrap();
    Fixture { _root: root, path }
}

/// Applies a change to the document and makes its check match again, as an attacker would.
fn tampered(path: &Path, change: impl FnOnce(&mut Value)) -> Result<KeystoreFile, KeystoreError> {
    let mut value: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut value);
    let mut document: Document = serde_json::from_value(value).unwrap();
    document.check = check_of(&document);
    KeystoreFile::parse(&serde_json::to_vec(&document).unwrap())
}

#[test]
fn what_was_sealed_is_opened_again() {
    let fixture = sealed(&[7; 32], "correct horse");
    let file = KeystoreFile::read(&fixture.path).unwrap();
    assert_eq!(file.network(), Network::Testnet);
    assert!(!file.is_open());
    assert_eq!(
        file.unseal(Some(&password("correct horse")))
            .ok()
            .unwrap()
            .expose(),
        [7; 32]
    );
    assert!(matches!(
        file.unseal(Some(&password("wrong"))),
        Err(KeystoreError::WrongPassword)
    ));
    assert!(matches!(
        file.unseal(None),
        Err(KeystoreError::PasswordNeeded)
    ));
}

#[test]
fn two_keystores_of_one_secret_share_nothing() {
    let (a, b) = (sealed(&[7; 32], "same"), sealed(&[7; 32], "same"));
    let value = |fixture: &Fixture| -> Value {
        serde_json::from_slice(&std::fs::read(&fixture.path).unwrap()).unwrap()
    };
    let (a, b) = (value(&a), value(&b));
    assert_ne!(a["payload"], b["payload"]);
    assert_ne!(a["kdf"]["salt"], b["kdf"]["salt"]);
    assert_ne!(a["cipher"]["nonce"], b["cipher"]["nonce"]);
}

#[test]
fn the_secret_is_not_in_the_file() {
    let fixture = sealed(&[0xc3; 32], "x");
    let text = std::fs::read_to_string(&fixture.path).unwrap();
    assert!(!text.contains(&"c3".repeat(32)));
}

#[test]
fn every_truncation_is_called_damage() {
    let fixture = sealed(&[7; 32], "x");
    let bytes = std::fs::read(&fixture.path).unwrap();
    // The final line feed is not part of the document.
    for length in 0..bytes.len() - 1 {
        let result = KeystoreFile::parse(&bytes[..length]);
        assert!(
            matches!(result, Err(KeystoreError::Damaged(_))),
            "{length} bytes were accepted"
        );
    }
}

#[test]
fn every_flipped_bit_is_noticed_without_a_password() {
    let fixture = sealed(&[7; 32], "x");
    let bytes = std::fs::read(&fixture.path).unwrap();
    let original: Value = serde_json::from_slice(&bytes).unwrap();
    let mut flips = 0;
    for position in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[position] ^= 1 << bit;
            if serde_json::from_slice::<Value>(&changed).is_ok_and(|value| value == original) {
                continue; // white space for white space
            }
            flips += 1;
            assert!(
                KeystoreFile::parse(&changed).is_err(),
                "bit {bit} of byte {position}"
            );
        }
    }
    assert!(flips > 4000, "only {flips} flips were tried");
}

#[test]
fn weak_and_absurd_parameters_are_refused_before_hashing() {
    let fixture = sealed(&[7; 32], "x");
    for (name, value) in [
        ("memory_kib", 64 * 1024 - 1),
        ("memory_kib", 1024 * 1024 + 1),
        ("memory_kib", u32::MAX),
        ("passes", 2),
        ("passes", 17),
        ("lanes", 3),
        ("lanes", 17),
        ("lanes", 0),
    ] {
        let error = tampered(&fixture.path, |file| file["kdf"][name] = json!(value))
            .err()
            .unwrap();
        assert!(
            matches!(error, KeystoreError::KdfCost { name: n, value: v, .. } if n == name && v == value),
            "{error}"
        );
    }
}

#[test]
fn the_header_is_part_of_the_seal() {
    let fixture = sealed(&[7; 32], "x");
    let changes: [fn(&mut Value); 4] = [
        |file| file["network"] = json!("devnet"),
        |file| file["kdf"]["passes"] = json!(4),
        |file| file["kdf"]["salt"] = json!("00".repeat(16)),
        |file| file["cipher"]["nonce"] = json!("00".repeat(24)),
    ];
    for change in changes {
        let file = tampered(&fixture.path, change).unwrap();
        let result = file.unseal(Some(&password("x")));
        assert!(matches!(result, Err(KeystoreError::WrongPassword)));
    }
}

#[test]
fn a_later_version_asks_for_an_upgrade() {
    let fixture = sealed(&[7; 32], "x");
    let text = std::fs::read_to_string(&fixture.path).unwrap();
    let later = text.replace("\"version\": 1", "\"version\": 2");
    assert!(matches!(
        KeystoreFile::parse(later.as_bytes()),
        Err(KeystoreError::Version(2))
    ));
}

#[test]
fn an_open_keystore_exists_on_devnets_only() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("keystore.json");
    let secret = Secret::new(vec![7; 32]);
    for network in [Network::Mainnet, Network::Testnet] {
        let result = KeystoreFile::create(&path, network, &secret, Protection::Open);
        assert!(matches!(result, Err(KeystoreError::OpenOutsideDevnet(n)) if n == network));
    }
    KeystoreFile::create(&path, Network::Devnet, &secret, Protection::Open).unwrap();
    let file = KeystoreFile::read(&path).unwrap();
    assert!(file.is_open());
    assert_eq!(file.unseal(None).ok().unwrap().expose(), [7; 32]);
    let moved = tampered(&path, |file| file["network"] = json!("mainnet"));
    assert!(matches!(
        moved,
        Err(KeystoreError::OpenOutsideDevnet(Network::Mainnet))
    ));
}

#[test]
fn a_sealed_keystore_cannot_be_declared_open() {
    let fixture = sealed(&[7; 32], "x");
    let changes: [fn(&mut Value); 3] = [
        |file| file["open"] = json!(true),
        |file| file["kdf"] = Value::Null,
        |file| file["cipher"] = Value::Null,
    ];
    for change in changes {
        assert!(matches!(
            tampered(&fixture.path, change),
            Err(KeystoreError::Damaged(_))
        ));
    }
}

#[test]
fn an_empty_password_is_no_protection() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("keystore.json");
    let (secret, empty) = (Secret::new(vec![7; 32]), Secret::new(Vec::new()));
    let result = KeystoreFile::create(
        &path,
        Network::Devnet,
        &secret,
        Protection::Password(&empty),
    );
    assert!(matches!(result, Err(KeystoreError::PasswordNeeded)));
    assert!(!path.exists());
}

#[test]
fn errors_print_neither_password_nor_secret() {
    let fixture = sealed(b"secret-secret-secret", "hunter2-hunter2");
    let file = KeystoreFile::read(&fixture.path).unwrap();
    let error = file
        .unseal(Some(&password("hunter3-hunter3")))
        .err()
        .unwrap();
    let printed = format!("{error} {error:?}");
    for word in [
        "hunter2",
        "hunter3",
        "secret-secret",
        &hex::encode("secret-secret"),
    ] {
        assert!(!printed.contains(word), "{printed}");
    }
}
