//! Rows Q01, Q02 and Q05: everything before a session.

use super::client::{CANCEL, GSS, RawClient, SSL, USER, V3_0, V3_2, kinds, packet};
use super::server::TestServer;
use cairn_database::sql::Environment;
use cairn_database::transaction::{Database, DatabaseOptions};
use cairn_database::wire::{Registry, Server, Unobserved, WireError, WireOptions};
use cairn_storage::disk::{Disk, FakeDisk};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Handle;

#[tokio::test]
async fn q01_startup_lengths_are_refused_at_once() {
    let server = TestServer::trusting().await;
    for length in [0i32, 7, 10_001, i32::MAX, i32::MIN, -1] {
        let mut client = RawClient::connect(server.address).await;
        client.send(&length.to_be_bytes()).await;
        let (code, message) = client.fatal().await;
        assert_eq!(code, "08P01");
        assert!(message.contains(&length.to_string()), "{message}");
    }
    server.stop().await;
}

#[tokio::test]
async fn q01_versions_are_negotiated_or_refused() {
    let server = TestServer::trusting().await;
    for (version, told) in [(2u32 << 16, "2.0"), (4 << 16, "4.0"), (7, "0.7")] {
        let mut client = RawClient::connect(server.address).await;
        client.send(&packet(version, USER)).await;
        let (code, message) = client.fatal().await;
        assert_eq!(code, "0A000");
        assert!(message.contains(told), "{message}");
    }
    // A newer minor version and an unknown option: the client is told what is spoken.
    let mut client = RawClient::connect(server.address).await;
    let body = b"user\0cairn\0database\0cairn\0_pq_.command_tag\0on\0\0";
    client.send(&packet((3 << 16) | 9999, body)).await;
    let replies = client.until('Z').await;
    assert_eq!(replies[0].kind, 'v');
    let mut expected = V3_2.to_be_bytes().to_vec();
    expected.extend_from_slice(&1u32.to_be_bytes());
    expected.extend_from_slice(b"_pq_.command_tag\0");
    assert_eq!(replies[0].body, expected);
    // 3.0 and 3.2 differ in their cancel keys.
    for (version, bytes) in [(V3_0, 4), (V3_2, 32)] {
        let (_, replies) = RawClient::session(server.address, version).await;
        assert_eq!(replies[0].kind, 'R', "nothing to negotiate");
        let key = replies.iter().find(|reply| reply.kind == 'K').unwrap();
        assert_eq!(key.body.len(), 4 + bytes);
    }
    server.stop().await;
}

#[tokio::test]
async fn q01_encryption_is_asked_for_once() {
    let server = TestServer::trusting().await;
    for twice in [SSL, GSS] {
        let mut client = RawClient::connect(server.address).await;
        for first in [SSL, GSS] {
            client.send(&packet(first, b"")).await;
            assert_eq!(client.byte().await, Some(b'N'));
        }
        client.send(&packet(twice, b"")).await;
        assert_eq!(client.fatal().await.0, "08P01");
    }
    // Both in turn and then a session.
    let mut client = RawClient::connect(server.address).await;
    for first in [GSS, SSL] {
        client.send(&packet(first, b"")).await;
        assert_eq!(client.byte().await, Some(b'N'));
    }
    client.send(&packet(V3_0, USER)).await;
    assert!(kinds(&client.until('Z').await).ends_with("KZ"));
    server.stop().await;
}

#[tokio::test]
async fn q01_who_and_where() {
    let server = TestServer::trusting().await;
    for (body, code) in [
        (&b"\0"[..], "28000"),
        (b"user\0\0\0", "28000"),
        (b"user\0nobody\0database\0cairn\0\0", "28000"),
        (b"user\0cairn\0database\0elsewhere\0\0", "3D000"),
        (
            b"user\0cairn\0database\0cairn\0replication\0true\0\0",
            "0A000",
        ),
        (b"user\0cairn\0", "08P01"),
        (b"user\0\xff\xfe\0\0", "22021"),
    ] {
        let mut client = RawClient::connect(server.address).await;
        client.send(&packet(V3_0, body)).await;
        // Whether a database exists is told after authentication.
        let replies = client.until('E').await;
        assert_eq!(
            replies.last().unwrap().field('C').as_deref(),
            Some(code),
            "{body:?}"
        );
        assert_eq!(client.reply().await, None);
    }
    server.stop().await;
}

#[tokio::test]
async fn q01_a_cancel_with_a_wrong_key_does_nothing_and_says_nothing() {
    let server = TestServer::trusting().await;
    let (_session, replies) = RawClient::session(server.address, V3_2).await;
    let key = replies.iter().find(|reply| reply.kind == 'K').unwrap();
    let (process, secret) = key.body.split_at(4);
    for wrong in [&secret[..4], &[0; 32], &[], &[&secret[1..], &[0]].concat()] {
        let mut client = RawClient::connect(server.address).await;
        client
            .send(&packet(CANCEL, &[process, wrong].concat()))
            .await;
        assert_eq!(
            client.reply().await,
            None,
            "the connection is closed without a word"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn q02_nothing_in_clear_follows_a_request_for_encryption() {
    let server = TestServer::trusting().await;
    for (code, name) in [(SSL, "SSL"), (GSS, "GSSAPI encryption")] {
        let mut client = RawClient::connect(server.address).await;
        let mut injected = packet(code, b"");
        injected.extend_from_slice(&packet(V3_0, USER));
        client.send(&injected).await;
        if code == GSS {
            assert_eq!(client.byte().await, Some(b'N'));
        }
        let (code, message) = client.fatal().await;
        assert_eq!(code, "08P01");
        assert_eq!(
            message,
            format!("received unencrypted data after {name} request")
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn q05_trust_beyond_loopback_does_not_start() {
    let disk: Arc<dyn Disk> = Arc::new(FakeDisk::new());
    let options = DatabaseOptions::default();
    let database = Database::open_directory(&disk, Path::new("/d"), 4 << 20, options).unwrap();
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:5432"] {
        let listen: SocketAddr = listen.parse().unwrap();
        let started = Server::start(
            WireOptions::trusting(listen),
            database.clone(),
            Arc::new(Environment::default()),
            Arc::new(Registry::default()),
            Arc::new(Unobserved),
            Handle::current(),
        );
        let refused = started.await.map(|_| ()).unwrap_err();
        assert!(
            matches!(refused, WireError::TrustBeyondLoopback(_)),
            "{refused}"
        );
    }
    database.close().unwrap();
}
