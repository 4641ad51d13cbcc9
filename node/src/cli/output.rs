//! What commands print: tables for people, JSON for scripts, through one door.
//!
//! Invariant: a closed pipe (`cairn block 1 | head -1`) ends the command quietly; text that came
//! from another machine is printed without its control characters, so that a peer's agent name
//! cannot drive the terminal.

use std::io::{self, Write};

use super::error::{CliError, CliResult};

/// Prints a text and a line end on standard output.
///
/// # Errors
/// When standard output cannot be written, except when its reader has gone.
pub fn line(text: impl AsRef<str>) -> CliResult {
    let mut out = io::stdout().lock();
    let written = out
        .write_all(text.as_ref().as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::failed(format!(
            "cannot write to standard output: {error}"
        ))),
        _ => Ok(()),
    }
}

/// Prints a value as indented JSON.
///
/// # Errors
/// As [`line()`].
pub fn json(value: &impl serde::Serialize) -> CliResult {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| CliError::failed(format!("cannot write the answer as JSON: {e}")))?;
    line(text)
}

/// The text without control characters, cut to `chars_max` characters.
pub fn plain(text: &str, chars_max: usize) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(chars_max)
        .collect()
}

/// Names and values, one pair a line, the values in one column.
pub fn pairs(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = rows
        .iter()
        .map(|(name, value)| format!("{name:<width$}  {value}"))
        .collect();
    lines.join("\n")
}

/// A table with a heading; columns are as wide as their widest cell, the last one is not padded.
pub fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let heading: Vec<String> = heading.iter().map(|cell| (*cell).to_owned()).collect();
    let lines: Vec<String> = std::iter::once(&heading)
        .chain(rows)
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

/// Pebbles as CRN with eight decimals (1 CRN = 100,000,000 pebbles, `spec/01-conventions`).
pub fn crn(pebbles: u64) -> String {
    format!("{}.{:08}", pebbles / 100_000_000, pebbles % 100_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let rows = vec![
            vec!["1".into(), "long cell".into()],
            vec!["200".into(), "x".into()],
        ];
        assert_eq!(
            table(&["n", "text"], &rows),
            "n    text\n1    long cell\n200  x"
        );
        assert_eq!(
            pairs(&[("a", "1".into()), ("long", "2".into())]),
            "a     1\nlong  2"
        );
    }

    #[test]
    fn control_characters_of_strangers_are_dropped() {
        assert_eq!(plain("ok\u{1b}[2J\n\u{9b}31m", 80), "ok[2J31m");
        assert_eq!(plain("abcdef", 3), "abc");
    }

    #[test]
    fn amounts_have_eight_decimals() {
        assert_eq!(crn(0), "0.00000000");
        assert_eq!(crn(150_000_000), "1.50000000");
        assert_eq!(crn(u64::MAX), "184467440737.09551615");
    }
}
