//! Running statements about the session and the transaction.

use super::answer::{Answer, Column};
use super::bind::{Bound, column_type};
use super::cast::Strength;
use super::copy::CopyOut;
use super::error::{Result, SqlError};
use super::expr::Scope;
use super::run::text_row;
use super::session::Session;
use super::statement::{Command, Prepared, Statement};
use super::types::of_column;
use super::utility::{Copy, Modes, Utility};
use crate::catalog::Relation;
use crate::lock::Wait;
use crate::transaction::{RESTARTS_MAX, Transaction};
use crate::types::Value;
use std::sync::Arc;

fn command(tag: &str) -> Result<Answer> {
    Ok(Answer::Command(tag.to_owned()))
}

impl Session {
    pub(super) async fn utility(
        &mut self,
        utility: &Utility,
        prepared: &Arc<Prepared>,
    ) -> Result<Answer> {
        match utility {
            Utility::Begin { modes, start } => {
                let tag = if *start { "START TRANSACTION" } else { "BEGIN" };
                if self.block {
                    self.notice(
                        "WARNING",
                        "25001",
                        "there is already a transaction in progress".to_owned(),
                    );
                    return command(tag);
                }
                if self.transaction.is_none() {
                    self.begin(*modes);
                } else if *modes != Modes::default() {
                    self.change_modes(*modes)?;
                }
                self.block = true;
                command(tag)
            }
            Utility::Commit => {
                if !self.block {
                    self.notice(
                        "WARNING",
                        "25P01",
                        "there is no transaction in progress".to_owned(),
                    );
                }
                if self.has_failed() {
                    self.roll_back();
                    return command("ROLLBACK");
                }
                self.commit().await?;
                command("COMMIT")
            }
            Utility::Rollback => {
                if !self.block {
                    self.notice(
                        "WARNING",
                        "25P01",
                        "there is no transaction in progress".to_owned(),
                    );
                }
                self.roll_back();
                command("ROLLBACK")
            }
            Utility::Savepoint(name) => {
                self.in_block("SAVEPOINT")?.savepoint(name)?;
                command("SAVEPOINT")
            }
            Utility::Release(name) => {
                self.in_block("RELEASE SAVEPOINT")?.release(name)?;
                command("RELEASE")
            }
            Utility::RollbackTo(name) => {
                self.in_block("ROLLBACK TO SAVEPOINT")?.rollback_to(name)?;
                self.unfail();
                command("ROLLBACK")
            }
            Utility::SetTransaction { modes, session } => {
                if *session {
                    if let Some(isolation) = modes.isolation {
                        use crate::transaction::Isolation as I;
                        let value = match isolation {
                            I::ReadCommitted => "read committed",
                            I::RepeatableRead => "repeatable read",
                            I::Serializable => "serializable",
                        };
                        self.set_setting("default_transaction_isolation", Some(value), false)?;
                    }
                    if let Some(read_only) = modes.read_only {
                        let value = if read_only { "on" } else { "off" };
                        self.set_setting("default_transaction_read_only", Some(value), false)?;
                    }
                } else if !self.block {
                    self.notice(
                        "WARNING",
                        "25P01",
                        "SET TRANSACTION can only be used in transaction blocks".to_owned(),
                    );
                } else {
                    self.change_modes(*modes)?;
                }
                command("SET")
            }
            Utility::SetConstraints { deferred } => {
                if let Some(t) = &mut self.transaction {
                    t.set_constraints_deferred(*deferred).await?;
                }
                command("SET CONSTRAINTS")
            }
            Utility::Set { name, value, local } => {
                if *local && !self.block {
                    self.notice(
                        "WARNING",
                        "25P01",
                        "SET LOCAL can only be used in transaction blocks".to_owned(),
                    );
                    return command("SET");
                }
                self.begin(Modes::default());
                if name.eq_ignore_ascii_case("transaction_isolation")
                    || name.eq_ignore_ascii_case("transaction_read_only")
                {
                    return Err(SqlError::unsupported(format!(
                        "SET {name}; use SET TRANSACTION"
                    )));
                }
                self.set_setting(name, value.as_deref(), *local)?;
                command("SET")
            }
            Utility::Reset(name) => {
                self.begin(Modes::default());
                if name == "all" {
                    for (name, _) in self.settings.all() {
                        let _ = self.settings.set(&name, None);
                    }
                    self.settings_changed();
                } else {
                    self.set_setting(name, None, false)?;
                }
                command("RESET")
            }
            Utility::Show(name) => self.show(name, &prepared.columns),
            Utility::Discard(what) => {
                if self.block {
                    return Err(SqlError::new(
                        "25001",
                        format!("DISCARD {what} cannot run inside a transaction block"),
                    ));
                }
                if matches!(*what, "ALL" | "PLANS") {
                    self.prepared.clear();
                }
                if matches!(*what, "ALL" | "SEQUENCES") {
                    self.sequences.clear();
                    self.last_sequence = None;
                }
                if *what == "ALL" {
                    self.release_advisory();
                    for (name, _) in self.settings.all() {
                        let _ = self.settings.set(&name, None);
                    }
                    self.settings_changed();
                }
                command(&format!("DISCARD {what}"))
            }
            Utility::Vacuum { tables } => {
                if self.block {
                    return Err(SqlError::new(
                        "25001",
                        "VACUUM cannot run inside a transaction block",
                    ));
                }
                self.check_tables(tables)?;
                // What no view needs goes now; the rest goes when it is old enough.
                let through = self.database.collect()?;
                let _ = through;
                command("VACUUM")
            }
            Utility::Analyze { tables } => {
                self.check_tables(tables)?;
                command("ANALYZE")
            }
            Utility::Lock {
                tables,
                mode,
                nowait,
            } => {
                if !self.block {
                    return Err(SqlError::new(
                        "25P01",
                        "LOCK TABLE can only be used in transaction blocks",
                    ));
                }
                let relations = self.check_tables(tables)?;
                self.used = true;
                let timeout = self.settings.timeout_ms("lock_timeout");
                let Some(mut t) = self.transaction.take() else {
                    return Err(crate::transaction::Error::Failed.into());
                };
                t.set_lock_timeout_ms(timeout);
                let wait = if *nowait { Wait::No } else { Wait::Until(None) };
                let mut outcome = Ok(());
                for relation in &relations {
                    let target = crate::lock::Target::Table(relation.table.id);
                    outcome = t.lock(target, *mode, wait).await;
                    if outcome.is_err() {
                        break;
                    }
                }
                self.transaction = Some(t);
                outcome?;
                command("LOCK TABLE")
            }
            Utility::Prepare {
                name,
                types,
                command: inner,
                locks,
                text,
            } => {
                if self.prepared.contains_key(name) {
                    return Err(SqlError::new(
                        "42P05",
                        format!("prepared statement \"{name}\" already exists"),
                    ));
                }
                let types = types
                    .iter()
                    .map(|one| Ok(Some(of_column(column_type(one)?).0)))
                    .collect::<Result<Vec<_>>>()?;
                let statement = Statement {
                    text: text.as_str().into(),
                    command: Arc::new((**inner).clone()),
                    locks: locks.clone(),
                };
                let made = self.prepare(&statement, &types)?;
                self.prepared.insert(name.clone(), made);
                command("PREPARE")
            }
            Utility::Execute { name, parameters } => {
                let named = self.named(name)?;
                if named.parameters.len() != parameters.len() {
                    return Err(SqlError::syntax(format!(
                        "wrong number of parameters for prepared statement \"{name}\""
                    ))
                    .detail(format!(
                        "Expected {} parameters but got {}.",
                        named.parameters.len(),
                        parameters.len()
                    )));
                }
                let schema = self.database.schema()?;
                let mut exprs = Vec::new();
                {
                    let mut binder = self.binder(&schema, &prepared.statement.text, Vec::new());
                    for (parameter, to) in parameters.iter().zip(&named.parameters) {
                        let typed = binder.expr(parameter)?;
                        exprs.push(binder.coerce(typed, *to, Strength::Assignment)?);
                    }
                }
                self.begin(Modes::default());
                let Some(mut t) = self.transaction.take() else {
                    return Err(crate::transaction::Error::Failed.into());
                };
                let env = self.env(&mut t, None, Vec::new());
                self.transaction = Some(t);
                let values = super::expr::evaluate(&exprs, &[], &Scope::new(env?))?;
                Box::pin(self.execute(&named, values)).await
            }
            Utility::Deallocate(None) => {
                self.prepared.clear();
                command("DEALLOCATE ALL")
            }
            Utility::Deallocate(Some(name)) => {
                self.named(name)?;
                self.prepared.remove(name);
                command("DEALLOCATE")
            }
            Utility::Copy(copy) => self.copy(copy, prepared).await,
            Utility::Explain {
                analyze,
                command: inner,
                locks,
            } => self.explain(prepared, inner, locks, *analyze).await,
            Utility::Notify { channel, payload } => {
                if payload.len() > crate::limits::NOTIFICATION_BYTES_MAX {
                    return Err(SqlError::new("22023", "payload string too long"));
                }
                self.begin(Modes::default());
                if let Some(t) = &mut self.transaction {
                    t.notify(channel, payload)?;
                }
                command("NOTIFY")
            }
            Utility::Checkpoint => {
                self.database.checkpoint()?;
                command("CHECKPOINT")
            }
        }
    }

    fn in_block(&mut self, what: &str) -> Result<&mut Transaction> {
        if !self.block {
            return Err(SqlError::new(
                "25P01",
                format!("{what} can only be used in transaction blocks"),
            ));
        }
        self.transaction
            .as_mut()
            .ok_or_else(|| crate::transaction::Error::Failed.into())
    }

    fn show(&mut self, name: &str, columns: &[Column]) -> Result<Answer> {
        if name == "all" {
            let rows = self.settings.all().into_iter();
            let rows = rows.map(|(name, value)| {
                vec![
                    Value::Text(name),
                    Value::Text(value),
                    Value::Text(String::new()),
                ]
            });
            return Ok(Session::rows_of(columns.to_vec(), rows.collect(), "SHOW"));
        }
        let value = match name.to_ascii_lowercase().as_str() {
            "transaction_isolation" if self.transaction.is_some() => match self.began.isolation {
                crate::transaction::Isolation::ReadCommitted => "read committed".to_owned(),
                crate::transaction::Isolation::RepeatableRead => "repeatable read".to_owned(),
                crate::transaction::Isolation::Serializable => "serializable".to_owned(),
            },
            "transaction_read_only" if self.transaction.is_some() => {
                if self.began.read_only { "on" } else { "off" }.to_owned()
            }
            _ => self.settings.get(name).map(str::to_owned).ok_or_else(|| {
                SqlError::new(
                    "42704",
                    format!("unrecognized configuration parameter \"{name}\""),
                )
            })?,
        };
        Ok(Session::rows_of(
            columns.to_vec(),
            vec![text_row(value)],
            "SHOW",
        ))
    }

    /// The tables of these names.
    fn check_tables(&mut self, tables: &[Vec<String>]) -> Result<Vec<Arc<Relation>>> {
        tables.iter().map(|names| self.table_named(names)).collect()
    }

    pub(super) fn table_named(&mut self, names: &[String]) -> Result<Arc<Relation>> {
        let schema = match &mut self.transaction {
            Some(t) if !t.is_failed() && !t.is_clean() => t.schema()?,
            _ => self.database.schema()?,
        };
        let found = match names {
            [name] => self
                .search_path()
                .iter()
                .find_map(|space| schema.find(space, name)),
            [space, name] => schema.find(space, name),
            _ => None,
        };
        found.cloned().ok_or_else(|| {
            SqlError::new(
                "42P01",
                format!("relation \"{}\" does not exist", names.join(".")),
            )
        })
    }

    fn inner(
        &mut self,
        prepared: &Prepared,
        inner: &Command,
        locks: &[crate::lock::Mode],
    ) -> Result<Arc<Prepared>> {
        let statement = Statement {
            text: prepared.statement.text.clone(),
            command: Arc::new(inner.clone()),
            locks: locks.to_vec(),
        };
        self.prepare(&statement, &[])
    }

    async fn explain(
        &mut self,
        prepared: &Arc<Prepared>,
        inner: &Command,
        locks: &[crate::lock::Mode],
        analyze: bool,
    ) -> Result<Answer> {
        let inner = self.inner(prepared, inner, locks)?;
        let bound = inner.bound.lock().as_ref().map(|(_, bound)| bound.clone());
        let mut lines = Vec::new();
        match bound.as_deref() {
            Some(Bound::Query { plan, locking, .. }) => {
                if locking.is_some() {
                    lines.push("LockRows".to_owned());
                    plan.explain(1, &mut lines);
                } else {
                    plan.explain(0, &mut lines);
                }
            }
            Some(Bound::Insert(insert)) => {
                lines.push(format!("Insert on {}", insert.target.relation.table.name));
                insert.source.explain(1, &mut lines);
            }
            Some(Bound::Update(update)) => {
                lines.push(format!("Update on {}", update.target.relation.table.name));
                update.plan.explain(1, &mut lines);
            }
            Some(Bound::Delete(delete)) => {
                lines.push(format!("Delete on {}", delete.target.relation.table.name));
                delete.plan.explain(1, &mut lines);
            }
            Some(Bound::Other) | None => lines.push("Utility Statement".to_owned()),
        }
        if analyze {
            if !inner.parameters.is_empty() {
                return Err(SqlError::new("42P02", "there is no parameter $1"));
            }
            let from = std::time::Instant::now();
            let mut rows = 0;
            if let Answer::Rows(answer) = self.run_sql(&inner, Vec::new()).await? {
                for row in answer {
                    row?;
                    rows += 1;
                }
            }
            let took = from.elapsed().as_secs_f64() * 1e3;
            lines.push(format!("Actual rows: {rows}"));
            lines.push(format!("Execution Time: {took:.3} ms"));
        }
        let rows = lines.into_iter().map(text_row).collect();
        Ok(Session::rows_of(prepared.columns.clone(), rows, "EXPLAIN"))
    }

    async fn copy(&mut self, copy: &Copy, prepared: &Arc<Prepared>) -> Result<Answer> {
        if copy.query.is_some() && copy.from {
            return Err(SqlError::syntax("COPY of a query cannot read"));
        }
        if copy.from {
            return self.copy_in(copy).await;
        }
        let inner = match &copy.query {
            Some(query) => self.inner(prepared, query, &[])?,
            None => {
                let relation = self.table_named(&copy.table)?;
                let table = &relation.table;
                let columns = match copy.columns.is_empty() {
                    true => visible(&relation)
                        .into_iter()
                        .map(|at| table.columns[at].name.clone())
                        .collect(),
                    false => copy.columns.clone(),
                };
                let columns: Vec<_> = columns
                    .iter()
                    .map(|name| super::name::quote(name))
                    .collect();
                let text = format!(
                    "SELECT {} FROM {}.{}",
                    columns.join(", "),
                    super::name::quote(&table.schema),
                    super::name::quote(&table.name)
                );
                let statement = self
                    .parse(&text)?
                    .pop()
                    .ok_or_else(|| SqlError::syntax("an empty statement"))?;
                self.prepare(&statement, &[])?
            }
        };
        let columns = inner.columns.clone();
        let Answer::Rows(rows) = self.run_sql(&inner, Vec::new()).await? else {
            return Err(SqlError::new(
                "0A000",
                "COPY query must have a RETURNING clause",
            ));
        };
        let mut format = copy.format.clone();
        if format.csv {
            let forced = |name: &String| {
                copy.options
                    .force_quote
                    .as_ref()
                    .is_none_or(|names| names.contains(name))
            };
            format.force_quote = columns
                .iter()
                .enumerate()
                .filter(|(_, c)| forced(&c.name))
                .map(|(at, _)| at)
                .collect();
        }
        let names: Vec<_> = columns
            .iter()
            .map(|column| Some(column.name.clone()))
            .collect();
        Ok(Answer::CopyOut(CopyOut {
            header: format.header.then(|| format.line(&names)),
            columns: columns.len(),
            modifiers: columns.iter().map(|column| column.modifier).collect(),
            rows: Box::new(rows),
            format,
            count: 0,
        }))
    }

    async fn copy_in(&mut self, copy: &Copy) -> Result<Answer> {
        self.begin(Modes::default());
        let relation = self.table_named(&copy.table)?;
        if copy.options.freeze && !self.created.contains(&relation.table.id) {
            return Err(SqlError::new(
                "55000",
                "cannot perform COPY FREEZE because the table was not created or truncated in the current subtransaction",
            ));
        }
        let shown = visible(&relation);
        let mut places = Vec::new();
        for name in &copy.columns {
            let place = relation
                .table
                .column(name)
                .filter(|place| shown.contains(place));
            let place = place.ok_or_else(|| {
                SqlError::new(
                    "42703",
                    format!(
                        "column \"{name}\" of relation \"{}\" does not exist",
                        relation.table.name
                    ),
                )
            })?;
            if places.contains(&place) {
                return Err(SqlError::new(
                    "42701",
                    format!("column \"{name}\" specified more than once"),
                ));
            }
            places.push(place);
        }
        if copy.columns.is_empty() {
            places = shown;
        }
        self.used = true;
        let Some(mut t) = self.transaction.take() else {
            return Err(crate::transaction::Error::Failed.into());
        };
        let mut outcome = Err(SqlError::new("40001", "could not begin COPY"));
        for _ in 0..=RESTARTS_MAX {
            outcome = match t.begin_statement() {
                Ok(()) => {
                    let mode = crate::lock::Mode::IntentExclusive;
                    match t
                        .lock_table(relation.table.id, mode, Wait::Until(None))
                        .await
                    {
                        Ok(()) => {
                            self.copy_begin(
                                &mut t,
                                relation.clone(),
                                places.clone(),
                                copy.format.clone(),
                            )
                            .await
                        }
                        Err(error) => Err(error.into()),
                    }
                }
                Err(error) => Err(error.into()),
            };
            match &outcome {
                Err(error) if error.restart => t.drop_statement(),
                _ => break,
            }
        }
        self.transaction = Some(t);
        outcome
    }
}

/// The columns of a table that can be seen.
pub(super) fn visible(relation: &Relation) -> Vec<usize> {
    let table = &relation.table;
    let last = table.columns.len().saturating_sub(1);
    let shown = |at: &usize| !table.columns[*at].dropped && (!table.hidden_key || *at != last);
    (0..table.columns.len()).filter(shown).collect()
}
