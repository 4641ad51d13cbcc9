//! Arrays in PostgreSQL's text form: the catalog has some, no table column does.

/// The elements of `{a,"b c",NULL}` or of the vector form `1 2 3`.
///
/// # Errors
/// Text that is no array of one dimension.
pub(super) fn elements(text: &str) -> Result<Vec<Option<String>>, ()> {
    let text = text.trim();
    let Some(body) = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
    else {
        if text.contains(['{', '}']) {
            return Err(());
        }
        return Ok(text
            .split_whitespace()
            .map(|one| Some(one.to_owned()))
            .collect());
    };
    let mut all = Vec::new();
    let mut chars = body.chars().peekable();
    if body.trim().is_empty() {
        return Ok(all);
    }
    loop {
        let mut one = String::new();
        let mut quoted = false;
        while let Some(&next) = chars.peek() {
            match next {
                ',' => break,
                '"' => {
                    quoted = true;
                    chars.next();
                    loop {
                        match chars.next().ok_or(())? {
                            '"' => break,
                            '\\' => one.push(chars.next().ok_or(())?),
                            plain => one.push(plain),
                        }
                    }
                }
                '{' | '}' => return Err(()),
                _ => {
                    one.push(next);
                    chars.next();
                }
            }
        }
        let plain = if quoted { one } else { one.trim().to_owned() };
        let null = !quoted && plain.eq_ignore_ascii_case("null");
        all.push((!null).then_some(plain));
        if chars.next().is_none() {
            return Ok(all);
        }
    }
}

/// `{…}` of these elements.
pub(super) fn write(elements: &[Option<String>]) -> String {
    let quote = |one: &Option<String>| match one {
        None => "NULL".to_owned(),
        Some(one) => {
            let odd = |c: char| matches!(c, '{' | '}' | ',' | '"' | '\\') || c.is_whitespace();
            match one.is_empty() || one.contains(odd) || one.eq_ignore_ascii_case("null") {
                true => format!("\"{}\"", one.replace('\\', "\\\\").replace('"', "\\\"")),
                false => one.clone(),
            }
        }
    };
    format!(
        "{{{}}}",
        elements.iter().map(quote).collect::<Vec<_>>().join(",")
    )
}
