//! SQL for the HTTP API: one statement on a session of its own, its rows as lines of JSON.
//!
//! Invariant: the answer is bounded in bytes and time; the session ends with its request, and an open
//! transaction is rolled back with it.

use crate::api::backend::{SqlFailure, SqlRequest};
use cairn_database::sql::{
    Answer, Column, Environment, Session, SessionStart, SqlError, SqlType, value_from_text,
    value_to_text,
};
use cairn_database::transaction::Database;
use cairn_database::types::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Bytes of an answer: more rows are for the PostgreSQL wire, which streams them.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Time of a statement.
const STATEMENT_MAX: Duration = Duration::from_secs(30);

/// Runs statements for others than the wire.
#[derive(Clone)]
pub struct SqlGate {
    database: Arc<Database>,
    environment: Arc<Environment>,
    sessions: Handle,
    user: String,
    name: String,
}

impl SqlGate {
    /// Over a database; statements run on `sessions`.
    pub fn new(
        database: Arc<Database>,
        environment: Arc<Environment>,
        sessions: Handle,
        user: String,
        name: String,
    ) -> Self {
        SqlGate {
            database,
            environment,
            sessions,
            user,
            name,
        }
    }

    /// Runs one statement: its rows, one JSON object a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn run(&self, request: SqlRequest, waiting: &Handle) -> Result<String, SqlFailure> {
        let start = SessionStart {
            user: self.user.clone(),
            database: self.name.clone(),
            settings: vec![("application_name".to_owned(), "cairn-api".to_owned())],
            environment: self.environment.clone(),
        };
        let session = Session::new(self.database.clone(), start).map_err(failure)?;
        let canceller = session.canceller();
        let running = self.sessions.spawn(run(session, request));
        waiting.block_on(async {
            let mut running = running;
            match tokio::time::timeout(STATEMENT_MAX, &mut running).await {
                Ok(done) => done.unwrap_or_else(|_| Err(failure(stopped()))),
                Err(_) => {
                    canceller.cancel("statement timeout");
                    running.await.unwrap_or_else(|_| Err(failure(stopped())))
                }
            }
        })
    }
}

fn stopped() -> SqlError {
    SqlError::new("57P01", "the SQL part of the node is stopping")
}

fn failure(error: SqlError) -> SqlFailure {
    SqlFailure {
        sqlstate: error.sqlstate.to_owned(),
        message: error.message,
        hint: error.hint,
    }
}

async fn run(mut session: Session, request: SqlRequest) -> Result<String, SqlFailure> {
    let done = answer(&mut session, &request).await;
    if done.is_err() {
        session.fail();
    }
    let ended = session.sync().await.map_err(failure);
    let lines = done.map_err(failure)?;
    ended.map(|()| lines)
}

async fn answer(session: &mut Session, request: &SqlRequest) -> Result<String, SqlError> {
    let statements = session.parse(&request.sql)?;
    let [statement] = statements.as_slice() else {
        let why = format!(
            "one statement is expected, the text has {}",
            statements.len()
        );
        return Err(SqlError::new("42601", why));
    };
    let prepared = session.prepare(statement, &[])?;
    let wanted = prepared.parameters();
    if wanted.len() != request.params.len() {
        let why = format!(
            "the statement has {} parameters, `params` has {}",
            wanted.len(),
            request.params.len()
        );
        return Err(SqlError::new("08P01", why));
    }
    let given = request.params.iter().zip(wanted);
    let parameters = given.map(|(json, data_type)| parameter(json, *data_type));
    let parameters = parameters.collect::<Result<Vec<Value>, SqlError>>()?;
    match session.execute(&prepared, parameters).await? {
        Answer::Rows(rows) => {
            let columns = rows.columns.clone();
            let mut lines = String::new();
            for row in rows {
                let row = row?;
                let members = columns.iter().zip(&row);
                let members =
                    members.map(|(column, value)| (column.name.clone(), json(column, value)));
                let object: serde_json::Map<String, serde_json::Value> = members.collect();
                lines.push_str(&serde_json::Value::Object(object).to_string());
                lines.push('\n');
                if lines.len() > ANSWER_BYTES_MAX {
                    let why = format!("the answer has more than {ANSWER_BYTES_MAX} bytes");
                    let hint = "Use LIMIT, or the PostgreSQL wire, which streams its rows.";
                    return Err(SqlError::new("54000", why).hint(hint));
                }
            }
            Ok(lines)
        }
        Answer::Command(tag) => Ok(format!("{}\n", serde_json::json!({ "command": tag }))),
        Answer::Empty => Ok(String::new()),
        Answer::CopyIn { .. } | Answer::CopyOut(_) => Err(SqlError::unsupported(
            "COPY over HTTP (use the PostgreSQL wire)",
        )),
    }
}

fn parameter(json: &serde_json::Value, data_type: SqlType) -> Result<Value, SqlError> {
    match json {
        serde_json::Value::Null => Ok(Value::Null),
        serde_json::Value::String(text) => value_from_text(data_type, text),
        other => value_from_text(data_type, &other.to_string()),
    }
}

fn json(column: &Column, value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Boolean(value) => (*value).into(),
        Value::SmallInt(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::BigInt(value) => (*value).into(),
        Value::Double(value) if value.is_finite() => (*value).into(),
        Value::Json(text) => serde_json::from_str(text).unwrap_or_else(|_| text.clone().into()),
        Value::Jsonb(json) => {
            let text = json.to_string();
            serde_json::from_str(&text).unwrap_or_else(|_| text.into())
        }
        other => match value_to_text(column.data_type, other) {
            Some(text) => text.into(),
            None => serde_json::Value::Null,
        },
    }
}
