//! Real processes, driven through the public interfaces alone: the command line, `devnet.json`, the
//! HTTP API. Nothing of the program is linked into these tests.
//!
//! Each test has its own folder and its own ports; waits have deadlines and conditions, and no test
//! sleeps and hopes. Programs are stopped when a test ends, however it ends.

mod bad_input;
mod devnet;
mod flood;
mod full_disk;
mod http;
mod kill;
mod mdns;
mod node;
mod partition;
mod sql;
mod validators;
mod wait;
