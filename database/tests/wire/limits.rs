//! Row Q07 as far as it needs no statement: connections that are too many.

use super::client::{RawClient, V3_0, kinds};
use super::server::{TestServer, loopback};
use cairn_database::wire::WireOptions;

#[tokio::test]
async fn q07_connections_beyond_the_cap_are_told_so() {
    let options = WireOptions {
        connections_max: 3,
        ..WireOptions::trusting(loopback())
    };
    let server = TestServer::with(options).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(RawClient::session(server.address, V3_0).await);
    }
    assert_eq!(server.registry.len(), 3);
    let mut refused = RawClient::connect(server.address).await;
    assert_eq!(refused.fatal().await.0, "53300");
    // A place that is free again is given again.
    drop(held.pop());
    loop {
        let mut client = RawClient::connect(server.address).await;
        client
            .send(&super::client::packet(V3_0, super::client::USER))
            .await;
        let first = client.reply().await.unwrap();
        if first.kind == 'R' {
            assert!(kinds(&client.until('Z').await).ends_with('Z'));
            break;
        }
        assert_eq!(first.field('C').as_deref(), Some("53300"));
        tokio::task::yield_now().await;
    }
    server.stop().await;
}
