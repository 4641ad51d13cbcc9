//! Running what is bound: rows, changes, effects, COPY in.
//!
//! Invariant: nothing of a statement that writes reaches the client before the statement is finished:
//! its rows are held until then.

use super::answer::{Answer, Rows};
use super::bind::{Bound, Conflict, Locking, Target};
use super::copy::{CopyFormat, LineReader};
use super::effect::Effect;
use super::error::{Result, SqlError};
use super::expr::{Env, Expr, Scope, evaluate};
use super::plan::{Plan, limits};
use super::session::Session;
use super::text;
use super::types::of_column;
use crate::catalog::{self, Relation, Sequence};
use crate::lock::{Mode, Target as LockTarget, Wait};
use crate::transaction::{KeyRange, Transaction};
use crate::types::Value;
use std::collections::HashSet;
use std::sync::Arc;

/// COPY FROM STDIN on its way.
#[derive(Debug)]
pub(super) struct CopyIn {
    pub(super) relation: Arc<Relation>,
    pub(super) places: Vec<usize>,
    pub(super) defaults: Vec<Expr>,
    pub(super) lines: LineReader,
    pub(super) env: Arc<Env>,
    pub(super) rows: u64,
}

/// A unique key: the primary one (`None`) or an index, and its bytes.
type UniqueKey = (Option<u64>, Vec<u8>);

impl Session {
    /// Values that may have effects.
    async fn compute(
        &mut self,
        t: &mut Transaction,
        parts: &[Expr],
        row: &[Value],
        scope: &Scope,
    ) -> Result<Vec<Value>> {
        loop {
            scope.env.outcomes.lock().next = 0;
            let mut error = match evaluate(parts, row, scope) {
                Ok(values) => {
                    scope.env.outcomes.lock().done.clear();
                    return Ok(values);
                }
                Err(error) => error,
            };
            let Some(effect) = error.effect.take() else {
                scope.env.outcomes.lock().done.clear();
                return Err(error);
            };
            let outcome = self.perform(t, *effect).await?;
            scope.env.outcomes.lock().done.push(outcome);
        }
    }

    async fn perform(&mut self, t: &mut Transaction, effect: Effect) -> Result<Value> {
        let find = |t: &mut Transaction, id: u64| -> Result<Arc<Sequence>> {
            let found = t.schema()?.sequence(id).cloned();
            found.ok_or_else(|| SqlError::new("42809", format!("relation {id} is not a sequence")))
        };
        match effect {
            Effect::NextValue { sequence } => {
                let found = find(t, sequence)?;
                let value = self.database.next_value(&found).await?;
                self.sequences.insert(sequence, value);
                self.last_sequence = Some(sequence);
                Ok(Value::BigInt(value))
            }
            Effect::SetValue {
                sequence,
                value,
                is_called,
            } => {
                let found = find(t, sequence)?;
                if value < found.min || value > found.max {
                    return Err(SqlError::new(
                        "22003",
                        format!(
                            "setval: value {value} is out of bounds for sequence \"{}\" ({}..{})",
                            found.name, found.min, found.max
                        ),
                    ));
                }
                let next = if is_called {
                    value.saturating_add(found.increment)
                } else {
                    value
                };
                self.database.set_value(&found, next).await?;
                self.sequences.insert(sequence, value);
                self.last_sequence = Some(sequence);
                Ok(Value::BigInt(value))
            }
            Effect::CurrentValue { sequence } => {
                let found = find(t, sequence)?;
                let value = self.sequences.get(&sequence).copied();
                value.map(Value::BigInt).ok_or_else(|| {
                    SqlError::new(
                        "55000",
                        format!(
                            "currval of sequence \"{}\" is not yet defined in this session",
                            found.name
                        ),
                    )
                })
            }
            Effect::LastValue => {
                let value = self
                    .last_sequence
                    .and_then(|id| self.sequences.get(&id))
                    .copied();
                value.map(Value::BigInt).ok_or_else(|| {
                    SqlError::new("55000", "lastval is not yet defined in this session")
                })
            }
            Effect::Advisory {
                key,
                shared,
                transaction,
                attempt,
            } => {
                let mode = if shared {
                    Mode::AdvisoryShared
                } else {
                    Mode::AdvisoryExclusive
                };
                let target = LockTarget::Advisory(key.0, key.1);
                let wait = if attempt { Wait::No } else { Wait::Until(None) };
                let outcome = match transaction {
                    true => t.lock(target, mode, wait).await,
                    false => self
                        .database
                        .locks()
                        .acquire_session(self.owner, target, mode, wait)
                        .await
                        .map_err(Into::into),
                };
                match outcome {
                    Ok(()) => {
                        if !transaction {
                            self.advisory.push((key, shared));
                        }
                        Ok(if attempt {
                            Value::Boolean(true)
                        } else {
                            Value::Text(String::new())
                        })
                    }
                    Err(crate::transaction::Error::LockNotAvailable(_)) if attempt => {
                        Ok(Value::Boolean(false))
                    }
                    Err(error) => Err(error.into()),
                }
            }
            Effect::Unlock { key, shared } => {
                let mode = if shared {
                    Mode::AdvisoryShared
                } else {
                    Mode::AdvisoryExclusive
                };
                let held = self.database.locks().release_session(
                    self.owner,
                    &LockTarget::Advisory(key.0, key.1),
                    mode,
                );
                if let Some(at) = self.advisory.iter().position(|one| *one == (key, shared)) {
                    self.advisory.swap_remove(at);
                }
                if !held {
                    self.notice(
                        "WARNING",
                        "01000",
                        "you don't own a lock of type ExclusiveLock".to_owned(),
                    );
                }
                Ok(Value::Boolean(held))
            }
            Effect::UnlockAll => {
                self.release_advisory();
                Ok(Value::Text(String::new()))
            }
            Effect::Notify { channel, payload } => {
                if channel.is_empty() || channel.len() > crate::limits::CHANNEL_BYTES_MAX {
                    return Err(SqlError::new("22023", "channel name is empty or too long"));
                }
                if payload.len() > crate::limits::NOTIFICATION_BYTES_MAX {
                    return Err(SqlError::new("22023", "payload string too long"));
                }
                t.notify(&channel, &payload)?;
                Ok(Value::Text(String::new()))
            }
            Effect::Configure { name, value, local } => {
                self.set_setting(&name, Some(&value), local)?;
                Ok(Value::Text(
                    self.settings.get(&name).unwrap_or_default().to_owned(),
                ))
            }
        }
    }

    pub(super) fn release_advisory(&mut self) {
        for (key, shared) in std::mem::take(&mut self.advisory) {
            let mode = if shared {
                Mode::AdvisoryShared
            } else {
                Mode::AdvisoryExclusive
            };
            self.database.locks().release_session(
                self.owner,
                &LockTarget::Advisory(key.0, key.1),
                mode,
            );
        }
    }

    pub(super) fn set_setting(
        &mut self,
        name: &str,
        value: Option<&str>,
        local: bool,
    ) -> Result<()> {
        let before = self.settings.get(name).map(str::to_owned);
        self.settings.set(name, value)?;
        if local {
            self.hidden.push((name.to_owned(), before));
        }
        self.settings_changed();
        Ok(())
    }

    /// Runs a bound statement about rows.
    pub(super) async fn run_bound(
        &mut self,
        t: &mut Transaction,
        bound: &Arc<Bound>,
        env: Arc<Env>,
    ) -> Result<Answer> {
        let scope = Scope::new(env);
        match &**bound {
            Bound::Query {
                plan,
                columns,
                locking: None,
                output: None,
            } => Ok(Answer::Rows(Rows::new(
                columns.clone(),
                plan.open(&scope)?,
                "SELECT",
            ))),
            Bound::Query {
                plan,
                columns,
                locking: None,
                output: Some(output),
            } => {
                let mut rows = Vec::new();
                for row in plan.open(&scope)? {
                    let row = row?;
                    let row = self.compute(t, output, &row, &scope).await?;
                    scope.env.hold(&row)?;
                    rows.push(row);
                }
                Ok(Session::rows_of(columns.clone(), rows, "SELECT"))
            }
            Bound::Query {
                plan,
                columns,
                locking: Some(locking),
                ..
            } => {
                let rows = self.locked(t, plan, locking, &scope).await?;
                Ok(Session::rows_of(columns.clone(), rows, "SELECT"))
            }
            Bound::Insert(insert) => {
                let mut out = Written::new("INSERT 0");
                let mut seen: HashSet<UniqueKey> = HashSet::new();
                for row in insert.source.open(&scope)? {
                    let row = row?;
                    scope.env.check_cancel()?;
                    let values = self.compute(t, &insert.values, &row, &scope).await?;
                    let relation = &insert.target.relation;
                    if let Some(conflict) = &insert.conflict {
                        let settled = self
                            .conflicting(t, relation, conflict, &values, &scope, &mut seen)
                            .await?;
                        match settled {
                            Settled::New => {}
                            Settled::Skipped => continue,
                            Settled::Updated(row) => {
                                out.add(&insert.target, &row, &scope)?;
                                continue;
                            }
                        }
                    }
                    let shown = insert.target.returning.as_ref().map(|_| values.clone());
                    if let Err(error) = t.insert(relation, values.clone()).await {
                        let mut error = explained(error, relation, &values);
                        // The other row is committed by now: the statement runs again and sees it.
                        error.restart |= insert.conflict.is_some() && error.sqlstate == "23505";
                        return Err(error);
                    }
                    match shown {
                        Some(mut row) => {
                            row.resize(relation.table.columns.len(), Value::Null);
                            out.add(&insert.target, &row, &scope)?;
                        }
                        None => out.count += 1,
                    }
                }
                Ok(out.answer(&insert.target))
            }
            Bound::Update(update) => {
                let mut out = Written::new("UPDATE");
                let relation = &update.target.relation;
                let parts: Vec<Expr> = update.set.iter().map(|(_, expr)| expr.clone()).collect();
                for row in update.plan.open(&scope)? {
                    let old = row?;
                    let values = self.compute(t, &parts, &old, &scope).await?;
                    let mut new = old.clone();
                    for ((place, _), value) in update.set.iter().zip(values) {
                        new[*place] = value;
                    }
                    let shown = update.target.returning.as_ref().map(|_| new.clone());
                    let copy = new.clone();
                    t.update(relation, &old, new)
                        .await
                        .map_err(|error| explained(error, relation, &copy))?;
                    match shown {
                        Some(row) => out.add(&update.target, &row, &scope)?,
                        None => out.count += 1,
                    }
                }
                Ok(out.answer(&update.target))
            }
            Bound::Delete(delete) => {
                let mut out = Written::new("DELETE");
                let relation = &delete.target.relation;
                for row in delete.plan.open(&scope)? {
                    let old = row?;
                    t.delete(relation, &old)
                        .await
                        .map_err(|error| explained(error, relation, &old))?;
                    out.add(&delete.target, &old, &scope)?;
                }
                Ok(out.answer(&delete.target))
            }
            Bound::Other => Err(SqlError::new("XX000", "nothing to run")),
        }
    }

    /// Locks rows as they come, below LIMIT; then computes the output.
    async fn locked(
        &mut self,
        t: &mut Transaction,
        plan: &Arc<Plan>,
        locking: &Locking,
        scope: &Scope,
    ) -> Result<Vec<Vec<Value>>> {
        let (mut skip, take) = limits(locking.limit.as_ref(), locking.offset.as_ref(), scope)?;
        if self.began.read_only {
            return Err(crate::transaction::Error::ReadOnly("SELECT FOR UPDATE").into());
        }
        let mut out = Vec::new();
        if take == Some(0) {
            return Ok(out);
        }
        'rows: for row in plan.open(scope)? {
            let row = row?;
            for lock in &locking.locks {
                let table = &lock.relation.table;
                let own = &row[lock.offset..lock.offset + table.columns.len()];
                if own.iter().all(Value::is_null) {
                    continue;
                }
                let key = catalog::row_key(table, own)?;
                let wait = (lock.nowait || lock.skip_locked).then_some(Wait::No);
                let got = t.lock_row(&lock.relation, &key, lock.mode, wait).await?;
                if !got && lock.skip_locked {
                    continue 'rows;
                }
                if !got {
                    return Err(SqlError::new(
                        "55P03",
                        format!(
                            "could not obtain lock on row in relation \"{}\"",
                            table.name
                        ),
                    ));
                }
            }
            if skip > 0 {
                skip -= 1;
                continue;
            }
            let row = self.compute(t, &locking.output, &row, scope).await?;
            scope.env.hold(&row)?;
            out.push(row);
            if take.is_some_and(|take| out.len() as u64 >= take) {
                break;
            }
        }
        Ok(out)
    }

    async fn conflicting(
        &mut self,
        t: &mut Transaction,
        relation: &Arc<Relation>,
        conflict: &Conflict,
        values: &[Value],
        scope: &Scope,
        seen: &mut HashSet<UniqueKey>,
    ) -> Result<Settled> {
        let mut full = values.to_vec();
        full.resize(relation.table.columns.len(), Value::Null);
        let wanted = |of: Option<u64>| conflict.target.is_none_or(|target| target == of);
        let mut keys: Vec<UniqueKey> = Vec::new();
        if !relation.table.hidden_key {
            keys.push((None, catalog::row_key(&relation.table, &full)?));
        }
        for index in relation
            .indexes
            .iter()
            .filter(|index| index.unique && index.is_plain())
        {
            let (prefix, has_null) = catalog::index_prefix(index, &full)?;
            if !has_null || index.nulls_not_distinct {
                keys.push((Some(index.id), prefix));
            }
        }
        for (of, bytes) in keys.iter().filter(|(of, _)| wanted(*of)) {
            if seen.contains(&(*of, bytes.clone())) {
                return match &conflict.update {
                    None => Ok(Settled::Skipped),
                    Some(_) => Err(SqlError::new("21000", "ON CONFLICT DO UPDATE command cannot affect row a second time")
                        .hint("Ensure that no rows proposed for insertion within the same command have duplicate constrained values.")),
                };
            }
            let found = match of {
                None => t.row(relation, bytes)?,
                Some(id) => {
                    let index = relation.indexes.iter().find(|index| index.id == *id);
                    let index =
                        index.ok_or_else(|| SqlError::new("XX000", "an index went away"))?;
                    let mut rows =
                        t.scan_index(relation, index, &KeyRange::prefix(bytes), false)?;
                    rows.next().transpose()?.map(|(_, row)| row)
                }
            };
            let Some(old) = found else { continue };
            let Some((set, condition)) = &conflict.update else {
                return Ok(Settled::Skipped);
            };
            let mut both = old.clone();
            both.extend(full.iter().cloned());
            let key = catalog::row_key(&relation.table, &old)?;
            t.lock_row(relation, &key, Mode::NoKeyUpdate, None).await?;
            seen.insert((*of, bytes.clone()));
            if let Some(condition) = condition
                && !condition.holds(&both, scope)?
            {
                return Ok(Settled::Skipped);
            }
            let parts: Vec<Expr> = set.iter().map(|(_, expr)| expr.clone()).collect();
            let fresh = self.compute(t, &parts, &both, scope).await?;
            let mut new = old.clone();
            for ((place, _), value) in set.iter().zip(fresh) {
                new[*place] = value;
            }
            t.update(relation, &old, new.clone())
                .await
                .map_err(|error| explained(error, relation, &new))?;
            return Ok(Settled::Updated(new));
        }
        seen.extend(keys);
        Ok(Settled::New)
    }

    /// Bytes of a COPY FROM STDIN, cut anywhere.
    ///
    /// # Errors
    /// What is wrong with a line.
    pub async fn copy_data(&mut self, bytes: &[u8]) -> Result<()> {
        let outcome = self.copy_lines(bytes, false).await;
        if outcome.is_err() {
            self.fail();
        }
        outcome
    }

    async fn copy_lines(&mut self, bytes: &[u8], last: bool) -> Result<()> {
        let (Some(mut copy), Some(mut t)) = (self.copy.take(), self.transaction.take()) else {
            return Err(SqlError::new("08P01", "no COPY is running"));
        };
        copy.lines.push(bytes);
        let outcome = self.copy_rows(&mut copy, &mut t, last).await;
        self.transaction = Some(t);
        let line = copy.lines.line;
        let name = copy.relation.table.name.clone();
        self.copy = Some(copy);
        outcome.map_err(|mut error| {
            if error.restart {
                error = crate::transaction::Error::Serialization("the table changed during COPY")
                    .into();
            }
            error
                .detail
                .get_or_insert_with(|| format!("COPY {name}, line {line}"));
            error
        })
    }

    async fn copy_rows(
        &mut self,
        copy: &mut CopyIn,
        t: &mut Transaction,
        last: bool,
    ) -> Result<()> {
        let scope = Scope::new(copy.env.clone());
        let relation = copy.relation.clone();
        let table = &relation.table;
        let width = table.columns.len() - usize::from(table.hidden_key);
        for line in copy.lines.take(last)? {
            scope.env.check_cancel()?;
            if line.len() > copy.places.len() {
                return Err(SqlError::new(
                    "22P04",
                    "extra data after last expected column",
                ));
            }
            let mut values = vec![Value::Null; width];
            if let Some(missing) = copy.places.get(line.len()) {
                return Err(SqlError::new(
                    "22P04",
                    format!(
                        "missing data for column \"{}\"",
                        table.columns[*missing].name
                    ),
                ));
            }
            for (place, value) in copy.places.iter().zip(line) {
                let column = &table.columns[*place];
                if let Some(value) = value {
                    let read = text::read(of_column(column.data_type).0, &value)?;
                    values[*place] = super::cast::fit(read, column.data_type, false)?;
                }
            }
            if copy.places.len() < width {
                let defaults = self.compute(t, &copy.defaults, &[], &scope).await?;
                for (place, value) in defaults.into_iter().enumerate() {
                    if !copy.places.contains(&place) {
                        values[place] = value;
                    }
                }
            }
            if let Err(error) = t.insert(&relation, values.clone()).await {
                return Err(explained(error, &relation, &values));
            }
            copy.rows += 1;
        }
        Ok(())
    }

    /// The end of a COPY FROM STDIN: its tag.
    ///
    /// # Errors
    /// What is wrong with the last line; what is checked at the statement's end.
    pub async fn copy_done(&mut self) -> Result<String> {
        let outcome = self.copy_finish().await;
        if outcome.is_err() {
            self.fail();
        }
        outcome
    }

    async fn copy_finish(&mut self) -> Result<String> {
        self.copy_lines(b"", true).await?;
        let rows = self.copy.take().map_or(0, |copy| copy.rows);
        if let Some(t) = &mut self.transaction {
            t.finish_statement().await?;
        }
        Ok(format!("COPY {rows}"))
    }

    /// The client gave up a COPY FROM STDIN.
    pub fn copy_fail(&mut self, reason: &str) -> SqlError {
        self.fail();
        SqlError::new("57014", format!("COPY from stdin failed: {reason}"))
    }

    /// Begins a COPY FROM STDIN.
    pub(super) async fn copy_begin(
        &mut self,
        t: &mut Transaction,
        relation: Arc<Relation>,
        places: Vec<usize>,
        format: CopyFormat,
    ) -> Result<Answer> {
        if self.began.read_only {
            return Err(crate::transaction::Error::ReadOnly("COPY FROM").into());
        }
        let schema = t.schema()?;
        let width = relation.table.columns.len() - usize::from(relation.table.hidden_key);
        let mut defaults = Vec::new();
        {
            let mut binder = self.binder(&schema, "", Vec::new());
            for place in 0..width {
                defaults.push(
                    match relation.table.columns[place].dropped || places.contains(&place) {
                        true => Expr::null(),
                        false => binder.default_of(&relation, place)?,
                    },
                );
            }
        }
        let env = self.env(t, None, Vec::new())?;
        let columns = places.len();
        self.copy = Some(CopyIn {
            relation,
            places,
            defaults,
            lines: LineReader::new(format.clone()),
            env,
            rows: 0,
        });
        Ok(Answer::CopyIn { format, columns })
    }
}

enum Settled {
    New,
    Skipped,
    Updated(Vec<Value>),
}

/// What a changing statement has done so far.
struct Written {
    tag: &'static str,
    count: u64,
    rows: Vec<Vec<Value>>,
}

impl Written {
    fn new(tag: &'static str) -> Self {
        Written {
            tag,
            count: 0,
            rows: Vec::new(),
        }
    }

    fn add(&mut self, target: &Target, row: &[Value], scope: &Scope) -> Result<()> {
        self.count += 1;
        if let Some(returning) = &target.returning {
            let row = evaluate(returning, row, scope)?;
            scope.env.hold(&row)?;
            self.rows.push(row);
        }
        Ok(())
    }

    fn answer(self, target: &Target) -> Answer {
        match target.returning {
            Some(_) => Session::rows_of(target.columns.clone(), self.rows, self.tag),
            None => Answer::Command(format!("{} {}", self.tag, self.count)),
        }
    }
}

/// An error with the table it is about and the key that was there already.
pub(super) fn explained(
    error: crate::transaction::Error,
    relation: &Relation,
    row: &[Value],
) -> SqlError {
    let table = &relation.table;
    let mut answer = SqlError::from(error);
    if !answer.sqlstate.starts_with("23") {
        return answer;
    }
    answer.schema = Some(table.schema.clone());
    answer.table.get_or_insert_with(|| table.name.clone());
    let show = |places: Vec<usize>| {
        let names: Vec<_> = places
            .iter()
            .map(|place| table.columns[*place].name.clone())
            .collect();
        let values: Vec<_> = places
            .iter()
            .map(|place| {
                row.get(*place)
                    .and_then(text::write)
                    .unwrap_or_else(|| "null".to_owned())
            })
            .collect();
        format!("({})=({})", names.join(", "), values.join(", "))
    };
    let constraint = answer.constraint.clone().unwrap_or_default();
    match answer.sqlstate {
        "23505" => {
            let places = if constraint == table.primary_name {
                Some(table.primary_key.clone())
            } else {
                relation
                    .indexes
                    .iter()
                    .find(|index| index.name == constraint)
                    .and_then(|index| {
                        let place = |part: &catalog::IndexPart| match part {
                            catalog::IndexPart::Column(place) => Some(*place),
                            catalog::IndexPart::Expression(_) => None,
                        };
                        index.parts.iter().map(|(part, _)| place(part)).collect()
                    })
            };
            if let Some(places) = places {
                answer.detail = Some(format!("Key {} already exists.", show(places)));
            }
        }
        "23502" | "23514" => {
            let shown = row
                .iter()
                .enumerate()
                .filter(|(at, _)| !(table.hidden_key && *at + 1 == table.columns.len()));
            let shown: Vec<_> = shown
                .map(|(_, value)| text::write(value).unwrap_or_else(|| "null".to_owned()))
                .collect();
            answer.detail = Some(format!("Failing row contains ({}).", shown.join(", ")));
        }
        "23503" => {
            if let Some(foreign) = table
                .foreign_keys
                .iter()
                .find(|foreign| foreign.name == constraint)
            {
                answer.detail = Some(format!(
                    "Key {} is not present in the referenced table.",
                    show(foreign.columns.clone())
                ));
            }
        }
        _ => {}
    }
    answer
}

/// One text value as a row.
pub(super) fn text_row(text: impl Into<String>) -> Vec<Value> {
    vec![Value::Text(text.into())]
}
