//! The client against recorded answers, whole and broken.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use super::*;

/// Answers one request after the other with the given status and body; returns the request lines.
fn node(answers: Vec<(u16, String)>) -> (NodeClient, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = NodeClient::new(&format!("http://{}/", listener.local_addr().unwrap()));
    let server = std::thread::spawn(move || {
        answers
            .into_iter()
            .map(|(status, body)| serve(&listener, status, &body))
            .collect()
    });
    (client, server)
}

fn serve(listener: &TcpListener, status: u16, body: &str) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    let mut request = Vec::new();
    let mut byte = [0u8; 1];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        request.push(byte[0]);
    }
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).unwrap();
    String::from_utf8(request)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .to_owned()
}

#[test]
fn pages_are_followed_to_the_end() {
    let id = "11".repeat(32);
    let page = |next: &str| {
        format!(
            r#"{{"utxos": [{{"txid": "{id}", "index": 1, "value": "150000000", "mature": false}}], "next_cursor": {next}}}"#
        )
    };
    let (client, server) = node(vec![(200, page("\"a/b=\"")), (200, page("null"))]);
    let utxos = client.utxos("dcrn1x").unwrap();
    assert_eq!(utxos.len(), 2);
    assert_eq!(
        (utxos[0].value, utxos[0].mature),
        (Amount(150_000_000), false)
    );
    assert_eq!(
        server.join().unwrap(),
        [
            "GET /v1/addresses/dcrn1x/utxos?limit=1000 HTTP/1.1",
            "GET /v1/addresses/dcrn1x/utxos?limit=1000&cursor=a%2Fb%3D HTTP/1.1"
        ]
    );
}

#[test]
fn a_problem_document_is_told_in_its_own_words() {
    let problem =
        r#"{"title": "Bad Request", "status": 400, "detail": "not on this network", "code": "x"}"#;
    let (client, server) = node(vec![(400, problem.into()), (502, "<html>".into())]);
    let error = client.address("tcrn1x").unwrap_err();
    assert!(error.is_refusal() && !error.is_not_found());
    assert!(
        error
            .to_string()
            .ends_with("answered 400 x: not on this network"),
        "{error}"
    );
    let error = client.address("tcrn1x").unwrap_err();
    assert!(!error.is_refusal(), "a broken gateway judges nothing");
    server.join().unwrap();
}

#[test]
fn unknown_transactions_are_none() {
    let (client, server) = node(vec![(404, "{}".into())]);
    assert_eq!(client.transaction(&"00".repeat(32)).unwrap(), None);
    server.join().unwrap();
}

#[test]
fn foreign_answers_are_malformed() {
    for body in [
        "",
        "[]",
        "{}",
        r#"{"balance": 5, "pending": "0", "transactions": 0}"#,
    ] {
        let (client, server) = node(vec![(200, body.into())]);
        let error = client.address("dcrn1x").unwrap_err();
        assert!(
            matches!(error, ClientError::Malformed { .. }),
            "{body}: {error}"
        );
        server.join().unwrap();
    }
}

#[test]
fn nobody_there_is_said_with_the_url() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = NodeClient::new(&url).status().unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }));
    assert!(error.to_string().contains(&url), "{error}");
}

#[test]
fn fee_targets_pick_the_nearest_estimate() {
    let target = |blocks, rate| FeeTarget {
        blocks,
        fee_rate: FeeRate(rate),
    };
    let targets = vec![target(2, 5000), target(6, 3000), target(24, 500)];
    let min_fee_rate = FeeRate(1000);
    let fees = Fees {
        min_fee_rate,
        targets,
    };
    for (blocks, rate) in [
        (1, 5000),
        (2, 5000),
        (5, 5000),
        (6, 3000),
        (23, 3000),
        (1000, 1000),
    ] {
        assert_eq!(fees.rate_for(blocks), FeeRate(rate), "target {blocks}");
    }
    let none = Fees {
        min_fee_rate,
        targets: vec![],
    };
    assert_eq!(none.rate_for(6), FeeRate(1000));
}
