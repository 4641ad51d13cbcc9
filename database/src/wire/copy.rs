//! COPY over the wire, in either direction.
//!
//! Invariant: rows pass in bounded memory: what the client sends is taken message by message, what it
//! gets is sent as it is made.

use super::connection::{Connection, End, Failure};
use super::message::{CopyDirection, Format, Frontend};
use super::report::Report;
use super::transport::TransportError;
use crate::limits::MESSAGE_BYTES_MAX;
use crate::sql::{CopyFormat, CopyOut};

impl Connection {
    /// COPY FROM STDIN: its tag.
    pub(super) async fn copy_in(
        &mut self,
        format: &CopyFormat,
        columns: usize,
    ) -> Result<String, Failure> {
        let _ = format;
        let direction = CopyDirection::In;
        self.transport
            .out
            .copy_response(direction, Format::Text, columns);
        self.transport.flush().await?;
        loop {
            let entry = self.entry.clone();
            let message = tokio::select! {
                message = self.transport.message(MESSAGE_BYTES_MAX) => message?,
                () = entry.until_ended() => {
                    return Err(Failure::Connection(super::connection::shutdown()));
                }
            };
            let Some((kind, body)) = message else {
                self.session.copy_fail("the connection was closed");
                return Err(Failure::Connection(End::Left));
            };
            let parsed = Frontend::parse(kind, &body).map_err(TransportError::from);
            match parsed? {
                Frontend::CopyData(bytes) => self.session.copy_data(bytes).await?,
                Frontend::CopyDone => return Ok(self.session.copy_done().await?),
                Frontend::CopyFail(why) => return Err(self.session.copy_fail(why).into()),
                // Sent along with the statement; both mean nothing here, as in PostgreSQL.
                Frontend::Flush | Frontend::Sync => {}
                Frontend::Terminate => {
                    self.session.copy_fail("the client left");
                    return Err(Failure::Connection(End::Left));
                }
                _ => {
                    let why =
                        format!("unexpected message type 0x{kind:02X} during COPY from stdin");
                    self.session.copy_fail(&why);
                    // What follows cannot be told apart from rows any more.
                    return Err(Failure::Connection(End::Told(Report::fatal("08P01", why))));
                }
            }
        }
    }

    /// COPY TO STDOUT: its tag.
    pub(super) async fn copy_out(&mut self, mut copy: CopyOut) -> Result<String, Failure> {
        let direction = CopyDirection::Out;
        self.transport
            .out
            .copy_response(direction, Format::Text, copy.columns);
        let mut lines = 0u64;
        for line in copy.by_ref() {
            self.transport.out.copy_data(&line?);
            self.transport.flush_if_large().await?;
            lines += 1;
            if lines.is_multiple_of(1024) {
                tokio::task::yield_now().await;
            }
        }
        self.transport.out.copy_done();
        Ok(copy.tag())
    }
}
