//! Row Q03: lengths and counts that lie.

use super::client::{RawClient, V3_0, kinds, message};
use super::server::TestServer;

#[tokio::test]
async fn q03_message_lengths_out_of_bounds_end_the_session() {
    let server = TestServer::trusting().await;
    for length in [0i32, 3, -1, i32::MIN, i32::MAX, (16 << 20) + 1] {
        let (mut client, _) = RawClient::session(server.address, V3_0).await;
        let mut bytes = vec![b'Q'];
        bytes.extend_from_slice(&length.to_be_bytes());
        client.send(&bytes).await;
        let (code, text) = client.fatal().await;
        assert_eq!(code, "08P01");
        assert!(text.contains(&length.to_string()), "{text}");
    }
    server.stop().await;
}

#[tokio::test]
async fn q03_a_lying_bind_is_an_error_and_the_session_goes_on() {
    let server = TestServer::trusting().await;
    let (mut client, _) = RawClient::session(server.address, V3_0).await;
    for body in [
        // -2 is not NULL.
        &b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"[..],
        // Longer than the message.
        b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0",
        // More parameters than bytes.
        b"\0\0\0\0\xff\xff\0\0",
        // A format that does not exist.
        b"\0\0\0\x01\0\x02\0\0\0\0",
        b"",
        b"\0",
    ] {
        client.send(&message('B', body)).await;
        client.send(&message('S', b"")).await;
        let replies = client.until('Z').await;
        assert_eq!(kinds(&replies), "EZ", "{body:?}");
        let code = replies[0].field('C').unwrap();
        assert!(["08P01", "22023"].contains(&code.as_str()), "{code}");
    }
    server.stop().await;
}

#[tokio::test]
async fn q03_text_that_is_not_utf8_is_refused() {
    let server = TestServer::trusting().await;
    let (mut client, _) = RawClient::session(server.address, V3_0).await;
    client.send(&message('Q', b"select '\xc3\x28'\0")).await;
    let replies = client.until('Z').await;
    assert_eq!(kinds(&replies), "EZ");
    assert_eq!(replies[0].field('C').as_deref(), Some("22021"));
    client.send(&message('z', b"")).await;
    assert_eq!(client.fatal().await.0, "08P01");
    server.stop().await;
}
