//! Arrays of one dimension between their text form, which is how the evaluator keeps them, and the
//! binary form.

use super::binary;
use crate::sql::{SqlType, value_from_text, value_to_text};
use crate::types::Value;
use crate::wire::message::{Reader, put_value};
use crate::wire::report::Report;

/// Writes an array's binary form from its text form.
pub fn write(out: &mut Vec<u8>, text: &str, element: SqlType) {
    let items = items(text);
    let has_null = items.iter().any(Option::is_none);
    let dimensions = i32::from(!items.is_empty());
    out.extend_from_slice(&dimensions.to_be_bytes());
    out.extend_from_slice(&i32::from(has_null).to_be_bytes());
    out.extend_from_slice(&element.oid().to_be_bytes());
    if items.is_empty() {
        return;
    }
    out.extend_from_slice(&(items.len() as i32).to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    for item in &items {
        put_value(out, |out| {
            let Some(item) = item else { return false };
            match value_from_text(element, item) {
                Ok(value) => binary::write(out, &value, element, -1),
                Err(_) => out.extend_from_slice(item.as_bytes()),
            }
            true
        });
    }
}

/// Reads an array's binary form to its text form.
///
/// # Errors
/// 22P03 for a malformed one, 0A000 for more dimensions.
pub fn read(bytes: &[u8], element: SqlType) -> Result<String, Report> {
    let mut reader = Reader::new(bytes);
    let dimensions = reader.i32()?;
    let _has_null = reader.i32()?;
    let oid = reader.u32()?;
    if oid != element.oid() {
        let message = format!(
            "binary data has array element type {oid}, expected {}",
            element.oid()
        );
        return Err(Report::error("42804", message));
    }
    let count = match dimensions {
        0 => 0,
        1 => {
            let count = reader.i32()?;
            let _lower_bound = reader.i32()?;
            count
        }
        more => {
            let message = format!("arrays of {more} dimensions are not supported");
            return Err(Report::error("0A000", message));
        }
    };
    let mut text = String::from("{");
    for index in 0..count {
        if index > 0 {
            text.push(',');
        }
        match reader.field()? {
            None => text.push_str("NULL"),
            Some(bytes) => {
                let value = binary::read(bytes, element)?;
                quote(
                    &mut text,
                    &value_to_text(element, &value).unwrap_or_default(),
                );
            }
        }
    }
    reader.end()?;
    text.push('}');
    Ok(text)
}

fn quote(out: &mut String, item: &str) {
    let plain = !item.is_empty()
        && !item.eq_ignore_ascii_case("null")
        && !item.contains(|c: char| matches!(c, '{' | '}' | ',' | '"' | '\\') || c.is_whitespace());
    if plain {
        return out.push_str(item);
    }
    out.push('"');
    for c in item.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// The items of a text form: `{a,"b c",NULL}`, or of a vector: `1 2`.
fn items(text: &str) -> Vec<Option<String>> {
    let Some(inner) = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
    else {
        return text
            .split_whitespace()
            .map(|item| Some(item.to_owned()))
            .collect();
    };
    if inner.trim().is_empty() {
        return Vec::new();
    }
    let mut items = Vec::new();
    let (mut item, mut quoted, mut inside) = (String::new(), false, false);
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => item.extend(characters.next()),
            '"' => {
                inside = !inside;
                quoted = true;
            }
            ',' if !inside => items.push(finish(&mut item, &mut quoted)),
            c => item.push(c),
        }
    }
    items.push(finish(&mut item, &mut quoted));
    items
}

fn finish(item: &mut String, quoted: &mut bool) -> Option<String> {
    let text = std::mem::take(item);
    let quoted = std::mem::take(quoted);
    (quoted || !text.eq_ignore_ascii_case("null")).then_some(text)
}

/// An array of text as the evaluator keeps it.
pub fn text_array<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Value {
    let mut text = String::from("{");
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        quote(&mut text, item.as_ref());
    }
    text.push('}');
    Value::Text(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(items("{}"), []);
        assert_eq!(
            items(r#"{a,"b, c",NULL,"NULL","x\"y"}"#),
            [some("a"), some("b, c"), None, some("NULL"), some("x\"y")]
        );
        assert_eq!(items("1 2"), [some("1"), some("2")]);
        let Value::Text(text) = text_array(["a", "", "b c", "null", "\\"]) else {
            panic!("an array is text");
        };
        assert_eq!(text, r#"{a,"","b c","null","\\"}"#);
        assert_eq!(items(&text).len(), 5);
    }

    #[test]
    fn malformed_binary_forms() {
        assert!(read(b"", SqlType::Integer).is_err());
        let mut two = Vec::new();
        two.extend_from_slice(&2i32.to_be_bytes());
        two.extend_from_slice(&[0; 4]);
        two.extend_from_slice(&23u32.to_be_bytes());
        assert_eq!(read(&two, SqlType::Integer).unwrap_err().code, "0A000");
        assert_eq!(read(&two, SqlType::Text).unwrap_err().code, "42804");
    }
}
