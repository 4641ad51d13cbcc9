//! Settings: which there are, their defaults, what a value may be.

use super::error::{Result, SqlError};

/// Name, default, and whether ParameterStatus reports it.
type Row = (&'static str, &'static str, bool);

const SETTINGS: &[Row] = &[
    ("application_name", "", true),
    ("bytea_output", "hex", false),
    ("check_function_bodies", "on", false),
    ("client_encoding", "UTF8", true),
    ("client_min_messages", "notice", false),
    ("DateStyle", "ISO, MDY", true),
    ("default_tablespace", "", false),
    ("default_transaction_deferrable", "off", false),
    ("default_transaction_isolation", "read committed", false),
    ("default_transaction_read_only", "off", true),
    ("extra_float_digits", "1", false),
    ("idle_in_transaction_session_timeout", "0", false),
    ("idle_session_timeout", "0", false),
    ("in_hot_standby", "off", true),
    ("integer_datetimes", "on", true),
    ("IntervalStyle", "postgres", true),
    ("is_superuser", "on", true),
    ("jit", "off", false),
    ("lock_timeout", "0", false),
    ("max_identifier_length", "63", false),
    ("max_index_keys", "32", false),
    ("row_security", "on", false),
    ("search_path", "\"$user\", public", false),
    ("server_encoding", "UTF8", true),
    ("server_version", "15.0", true),
    ("server_version_num", "150000", false),
    ("session_authorization", "", true),
    ("standard_conforming_strings", "on", true),
    ("statement_timeout", "0", false),
    ("synchronous_commit", "on", false),
    ("TimeZone", "UTC", true),
    ("transaction_isolation", "read committed", false),
    ("transaction_read_only", "off", false),
    ("xmloption", "content", false),
];

/// The settings of a session, by their own names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    values: Vec<(&'static str, String)>,
    custom: Vec<(String, String)>,
}

fn wrong(name: &str, value: &str) -> SqlError {
    SqlError::new(
        "22023",
        format!("invalid value for parameter \"{name}\": \"{value}\""),
    )
}

/// Milliseconds of `5s`, `100`, `2min`.
fn milliseconds(name: &str, value: &str) -> Result<u64> {
    let digits = value
        .trim_end_matches(|c: char| c.is_ascii_alphabetic())
        .trim();
    let factor = match value[value.len().min(digits.len())..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong(name, value)),
    };
    let number: u64 = digits.parse().map_err(|_| wrong(name, value))?;
    let total = number
        .checked_mul(factor)
        .filter(|total| *total <= i32::MAX as u64);
    total.ok_or_else(|| wrong(name, value))
}

impl Settings {
    pub(super) fn new(user: &str) -> Self {
        let mut values: Vec<_> = SETTINGS
            .iter()
            .map(|(name, value, _)| (*name, (*value).to_owned()))
            .collect();
        for (name, value) in &mut values {
            if *name == "session_authorization" {
                user.clone_into(value);
            }
        }
        Settings {
            values,
            custom: Vec::new(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let known = self
            .values
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        let custom = || {
            self.custom
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
        };
        known
            .map(|(_, value)| value.as_str())
            .or_else(|| custom().map(|(_, value)| value.as_str()))
    }

    pub(super) fn timeout_ms(&self, name: &str) -> u64 {
        self.get(name)
            .and_then(|value| milliseconds(name, value).ok())
            .unwrap_or(0)
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some("on")
    }

    /// Sets a value, or its default.
    pub(super) fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let Some((own, default, _)) = SETTINGS.iter().find(|row| row.0.eq_ignore_ascii_case(name))
        else {
            if !name.contains('.') {
                return Err(SqlError::new(
                    "42704",
                    format!("unrecognized configuration parameter \"{name}\""),
                ));
            }
            self.custom.retain(|(known, _)| known != name);
            self.custom
                .extend(value.map(|value| (name.to_owned(), value.to_owned())));
            return Ok(());
        };
        let value = value.unwrap_or(default);
        let checked = match *own {
            "integer_datetimes"
            | "server_version"
            | "server_version_num"
            | "server_encoding"
            | "is_superuser"
            | "in_hot_standby"
            | "max_identifier_length"
            | "max_index_keys" => {
                return Err(SqlError::new(
                    "55P02",
                    format!("parameter \"{own}\" cannot be changed"),
                ));
            }
            "statement_timeout"
            | "lock_timeout"
            | "idle_in_transaction_session_timeout"
            | "idle_session_timeout" => {
                milliseconds(own, value)?;
                value.to_owned()
            }
            "TimeZone" => match value.to_ascii_lowercase().as_str() {
                "utc" | "gmt" | "etc/utc" | "z" | "0" | "default" | "local" => "UTC".to_owned(),
                _ => return Err(SqlError::unsupported(format!("time zone \"{value}\""))),
            },
            "client_encoding" => {
                match value.to_ascii_lowercase().replace(['-', '_'], "").as_str() {
                    "utf8" | "unicode" | "auto" => "UTF8".to_owned(),
                    _ => {
                        return Err(SqlError::unsupported(format!(
                            "client encoding \"{value}\""
                        )));
                    }
                }
            }
            "DateStyle" => match value.to_ascii_lowercase().contains("iso") {
                true => "ISO, MDY".to_owned(),
                false => return Err(SqlError::unsupported(format!("DateStyle \"{value}\""))),
            },
            "standard_conforming_strings" if !matches!(value, "on" | "true" | "1") => {
                return Err(SqlError::unsupported("standard_conforming_strings off"));
            }
            "default_transaction_isolation" | "transaction_isolation" => {
                let lower = value.to_ascii_lowercase();
                match lower.as_str() {
                    "serializable" | "repeatable read" | "read committed" | "read uncommitted" => {
                        lower
                    }
                    _ => return Err(wrong(own, value)),
                }
            }
            _ if matches!(*default, "on" | "off") => match value.to_ascii_lowercase().as_str() {
                "on" | "true" | "yes" | "1" => "on".to_owned(),
                "off" | "false" | "no" | "0" => "off".to_owned(),
                _ => {
                    return Err(SqlError::new(
                        "22023",
                        format!("parameter \"{own}\" requires a Boolean value"),
                    ));
                }
            },
            _ => value.to_owned(),
        };
        for (known, current) in &mut self.values {
            if known == own {
                current.clone_from(&checked);
            }
        }
        Ok(())
    }

    pub(super) fn reported(&self) -> Vec<(&'static str, String)> {
        let reported = |name: &str| SETTINGS.iter().any(|row| row.0 == name && row.2);
        self.values
            .iter()
            .filter(|(name, _)| reported(name))
            .cloned()
            .collect()
    }

    pub(super) fn all(&self) -> Vec<(String, String)> {
        let own = self
            .values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        own.chain(self.custom.iter().cloned()).collect()
    }
}
