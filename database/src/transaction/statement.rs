//! Statements: a layer of their own, run again as a whole when a locked row is newer than the view.

use super::error::{Error, Result};
use super::state::{Isolation, Transaction};

/// How often a statement is run again before it answers 40001.
pub const RESTARTS_MAX: usize = 10;

impl Transaction {
    /// Begins a statement: READ COMMITTED takes a new view, writes go to a layer of their own.
    ///
    /// # Errors
    /// `Failed`, `State`.
    pub fn begin_statement(&mut self) -> Result<()> {
        self.check_active()?;
        if self.statement.is_some() {
            return Err(Error::State("a statement inside a statement"));
        }
        if self.begin.isolation == Isolation::ReadCommitted {
            self.renew_view();
        } else {
            self.view();
        }
        self.statement = Some(self.writes.push());
        Ok(())
    }

    /// Ends a statement: checks what is checked at its end, then its writes count.
    ///
    /// # Errors
    /// Violated constraints; `Restart`; after an error the caller drops the statement.
    pub async fn finish_statement(&mut self) -> Result<()> {
        self.check_active()?;
        let Some(depth) = self.statement else {
            return Err(Error::State("no statement to finish"));
        };
        self.check_statement().await?;
        self.statement = None;
        for deferred in &mut self.deferred {
            deferred.depth = deferred.depth.min(depth);
        }
        Ok(self.writes.fold(depth)?)
    }

    /// Drops the statement's writes and keeps its locks. READ COMMITTED reads anew from the next one.
    pub fn drop_statement(&mut self) {
        if let Some(depth) = self.statement.take() {
            self.writes.truncate(depth);
            self.deferred.retain(|deferred| deferred.depth <= depth);
        }
    }

    /// Runs a statement, and runs it again where its view was too old. After any other error the
    /// transaction has failed.
    ///
    /// # Errors
    /// Those of `body`; `Serialization` after [`RESTARTS_MAX`] runs.
    pub async fn statement<T>(
        &mut self,
        mut body: impl AsyncFnMut(&mut Transaction) -> Result<T>,
    ) -> Result<T> {
        for _ in 0..=RESTARTS_MAX {
            self.begin_statement()?;
            let outcome = match body(self).await {
                Ok(value) => self.finish_statement().await.map(|()| value),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(value) => return Ok(value),
                Err(Error::Restart) => self.drop_statement(),
                Err(error) => {
                    self.drop_statement();
                    self.fail();
                    return Err(error);
                }
            }
        }
        self.fail();
        Err(Error::Serialization(
            "the statement's rows changed each time it ran",
        ))
    }
}
