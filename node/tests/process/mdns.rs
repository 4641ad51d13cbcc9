//! Nodes on one local network find each other by multicast DNS, without a bootnode. The network is one
//! of two namespaces joined by a cable; `scripts/try-mdns` makes it and says what it saw.

use crate::node::text;
use std::process::{Command, Stdio};

/// The script's word for a system on which it has no right to make namespaces.
const NOT_RUN: i32 = 77;

#[test]
fn hosts_of_one_network_find_each_other() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/try-mdns");
    let output = Command::new(script)
        .env("CAIRN", env!("CARGO_BIN_EXE_cairn"))
        .stdin(Stdio::null())
        .output()
        .expect("the script starts");
    let text = text(&output);
    println!("{text}");
    if output.status.code() == Some(NOT_RUN) {
        println!("not run: this user may not make network namespaces");
        return;
    }
    assert!(output.status.success(), "{text}");
    assert!(text.contains("two hosts find each other by mDNS"), "{text}");
}
