//! Row Q04: SCRAM from outside, with and without TLS.

use super::client::{PATIENCE, RawClient, Reply, SSL, USER, V3_0, message, packet};
use super::server::{TestServer, loopback};
use cairn_database::wire::{Authentication, OneUser, Tls, Verifier, WireOptions};
use std::sync::Arc;

fn with_password(password: &str) -> WireOptions {
    let user = OneUser {
        name: "cairn".to_owned(),
        verifier: Verifier::random(password),
    };
    WireOptions {
        authentication: Authentication::Scram(Arc::new(user)),
        ..WireOptions::trusting(loopback())
    }
}

/// SASLInitialResponse
fn initial(mechanism: &str, data: &[u8]) -> Vec<u8> {
    let mut body = mechanism.as_bytes().to_vec();
    body.push(0);
    body.extend_from_slice(&(data.len() as u32).to_be_bytes());
    body.extend_from_slice(data);
    message('p', &body)
}

async fn asked(client: &mut RawClient, user: &str) -> Reply {
    let body = format!("user\0{user}\0database\0cairn\0\0");
    client.send(&packet(V3_0, body.as_bytes())).await;
    client.reply().await.unwrap()
}

#[tokio::test]
async fn q04_unknown_users_and_wrong_proofs_look_the_same() {
    let server = TestServer::with(with_password("pencil")).await;
    let mut seen = Vec::new();
    for user in ["cairn", "nobody"] {
        let mut client = RawClient::connect(server.address).await;
        let request = asked(&mut client, user).await;
        assert_eq!(request.body, b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        client.send(&initial("SCRAM-SHA-256", b"n,,n=,r=abc")).await;
        let challenge = client.reply().await.unwrap();
        let text = String::from_utf8(challenge.body[4..].to_vec()).unwrap();
        let rounds: u32 = text.rsplit_once(",i=").unwrap().1.parse().unwrap();
        assert!(rounds >= 15_000);
        let nonce = text.split(',').next().unwrap();
        let proof = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let last = format!("c=biws,{nonce},p={proof}");
        client.send(&message('p', last.as_bytes())).await;
        let (code, text) = client.fatal().await;
        seen.push((code, text.replace(user, "USER")));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].0, "28P01");
    server.stop().await;
}

#[tokio::test]
async fn q04_rubbish_ends_the_attempt() {
    let server = TestServer::with(with_password("pencil")).await;
    for bad in [
        message('Q', b"select 1\0"),
        message('p', b""),
        message('p', b"SCRAM-SHA-256\0\xff\xff\xff\xff"),
        message('p', b"SCRAM-SHA-256\0\xff\xff\xff\xfe"),
        initial("SCRAM-SHA-1", b"n,,n=,r=abc"),
        initial("SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,n=,r=abc"),
        initial("SCRAM-SHA-256", b"n,,n=,r="),
        initial("SCRAM-SHA-256", b"\xff"),
    ] {
        let mut client = RawClient::connect(server.address).await;
        asked(&mut client, "cairn").await;
        client.send(&bad).await;
        assert_eq!(client.fatal().await.0, "08P01", "{bad:?}");
    }
    // Before a client is known no message is larger than a first packet.
    let mut client = RawClient::connect(server.address).await;
    asked(&mut client, "cairn").await;
    client.send(b"p\x00\x00\x27\x11").await;
    assert_eq!(client.fatal().await.0, "08P01");
    server.stop().await;
}

#[tokio::test]
async fn q04_a_stock_client_logs_in_with_the_password_only() {
    let server = TestServer::with(with_password("pencil")).await;
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(server.address.port());
    config.user("cairn").dbname("cairn").password("pencil");
    let connected = tokio::time::timeout(PATIENCE, config.connect(tokio_postgres::NoTls));
    let (client, connection) = connected.await.unwrap().unwrap();
    let running = tokio::spawn(connection);
    drop(client);
    running.await.unwrap().unwrap();
    config.password("pen");
    let refused = config
        .connect(tokio_postgres::NoTls)
        .await
        .map(|_| ())
        .unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "28P01");
    server.stop().await;
}

#[tokio::test]
async fn q04_tls_and_the_binding_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (
        directory.path().join("c.pem"),
        directory.path().join("k.pem"),
    );
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.key_pair.serialize_pem()).unwrap();
    let options = WireOptions {
        tls: Some(Tls::from_files(&certificate, &key).unwrap()),
        ..with_password("pencil")
    };
    let server = TestServer::with(options).await;
    let mut client = RawClient::connect(server.address).await;
    client.send(&packet(SSL, b"")).await;
    assert_eq!(client.byte().await, Some(b'S'));
    let mut roots = tokio_rustls::rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = tokio_rustls::rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = "localhost".try_into().unwrap();
    let mut stream = connector.connect(name, client.stream).await.unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    stream.write_all(&packet(V3_0, USER)).await.unwrap();
    let offer = b"R\0\0\0\x2b\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
    let mut seen = vec![0; offer.len()];
    stream.read_exact(&mut seen).await.unwrap();
    assert_eq!(seen[..1], offer[..1]);
    assert_eq!(seen[5..], offer[5..]);
    // "y" says that the server has no binding: somebody took the offer away.
    stream
        .write_all(&initial("SCRAM-SHA-256", b"y,,n=,r=abc"))
        .await
        .unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'E');
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn files_that_are_no_certificate_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.pem");
    let missing = Tls::from_files(&file, &file).unwrap_err().to_string();
    assert!(missing.contains("c.pem"), "{missing}");
    std::fs::write(&file, "rubbish").unwrap();
    let wrong = Tls::from_files(&file, &file).unwrap_err().to_string();
    assert!(
        wrong.contains("c.pem") && wrong.contains("certificates"),
        "{wrong}"
    );
}
