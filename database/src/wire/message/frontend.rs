//! What a client sends once its session runs.

use super::{Format, ProtocolError, Reader};

/// A prepared statement or a portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `S`
    Statement,
    /// `P`
    Portal,
}

/// Parameters for a prepared statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind<'a> {
    /// The portal to make; empty is the unnamed one.
    pub portal: &'a str,
    /// The statement; empty is the unnamed one.
    pub statement: &'a str,
    /// Formats of the parameters: none (all text), one for all, or one each.
    pub formats: Vec<Format>,
    /// The parameters; `None` is NULL.
    pub parameters: Vec<Option<&'a [u8]>>,
    /// Formats of the result's columns: none, one for all, or one each.
    pub result_formats: Vec<Format>,
}

/// A message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frontend<'a> {
    /// SQL, answered with everything at once.
    Query(&'a str),
    /// Makes a prepared statement.
    Parse {
        /// Its name; empty is the unnamed one.
        name: &'a str,
        /// One statement.
        sql: &'a str,
        /// Types of the parameters as far as the client knows them; 0 is unknown.
        types: Vec<u32>,
    },
    /// Makes a portal.
    Bind(Bind<'a>),
    /// Asks for parameters and columns.
    Describe(Kind, &'a str),
    /// Runs a portal for at most so many rows; 0 is all.
    Execute {
        /// The portal.
        portal: &'a str,
        /// Rows at most.
        rows_max: usize,
    },
    /// Drops a statement or a portal.
    Close(Kind, &'a str),
    /// Ends a run of messages.
    Sync,
    /// Send what there is.
    Flush,
    /// The end.
    Terminate,
    /// Rows for COPY.
    CopyData(&'a [u8]),
    /// All rows were sent.
    CopyDone,
    /// The client gives up; why.
    CopyFail(&'a str),
    /// A password or a SASL message.
    Password(&'a [u8]),
    /// The old function call.
    FunctionCall,
}

impl<'a> Frontend<'a> {
    /// Reads a message by its type byte.
    ///
    /// # Errors
    /// A malformed body, an unknown type.
    pub fn parse(kind: u8, body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut reader = Reader::new(body);
        let message = match kind {
            b'Q' => Frontend::Query(reader.text()?),
            b'P' => {
                let (name, sql) = (reader.text()?, reader.text()?);
                let count = reader.count(4)?;
                let types = (0..count).map(|_| reader.u32()).collect::<Result<_, _>>()?;
                Frontend::Parse { name, sql, types }
            }
            b'B' => Frontend::Bind(bind(&mut reader)?),
            b'D' => Frontend::Describe(target(&mut reader)?, reader.text()?),
            b'E' => Frontend::Execute {
                portal: reader.text()?,
                // A negative count means all, as in PostgreSQL.
                rows_max: usize::try_from(reader.i32()?).unwrap_or(0),
            },
            b'C' => Frontend::Close(target(&mut reader)?, reader.text()?),
            b'S' => Frontend::Sync,
            b'H' => Frontend::Flush,
            b'X' => Frontend::Terminate,
            b'd' => Frontend::CopyData(reader.rest()),
            b'c' => Frontend::CopyDone,
            b'f' => Frontend::CopyFail(reader.text()?),
            b'p' => Frontend::Password(reader.rest()),
            b'F' => {
                reader.rest();
                Frontend::FunctionCall
            }
            other => return Err(ProtocolError::Type(other)),
        };
        reader.end()?;
        Ok(message)
    }
}

fn target(reader: &mut Reader<'_>) -> Result<Kind, ProtocolError> {
    match reader.u8()? {
        b'S' => Ok(Kind::Statement),
        b'P' => Ok(Kind::Portal),
        other => Err(ProtocolError::Other(format!(
            "invalid target of Describe or Close: {other}, S or P expected"
        ))),
    }
}

fn formats(reader: &mut Reader<'_>) -> Result<Vec<Format>, ProtocolError> {
    let count = reader.count(2)?;
    (0..count)
        .map(|_| Format::from_code(reader.i16()?))
        .collect()
}

fn bind<'a>(reader: &mut Reader<'a>) -> Result<Bind<'a>, ProtocolError> {
    let (portal, statement) = (reader.text()?, reader.text()?);
    let parameter_formats = formats(reader)?;
    let count = reader.count(4)?;
    let parameters = (0..count)
        .map(|_| reader.field())
        .collect::<Result<_, _>>()?;
    Ok(Bind {
        portal,
        statement,
        formats: parameter_formats,
        parameters,
        result_formats: formats(reader)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bind_checks_every_length() {
        let good = b"\0\0\0\x01\0\x01\0\x02\0\0\0\x01a\xff\xff\xff\xff\0\0";
        let message = Frontend::parse(b'B', good).unwrap();
        let Frontend::Bind(bind) = message else {
            panic!("{message:?}")
        };
        assert_eq!(bind.formats, [Format::Binary]);
        assert_eq!(bind.parameters, [Some(&b"a"[..]), None]);
        // Every shorter body is refused, and none panics.
        for length in 0..good.len() {
            assert!(Frontend::parse(b'B', &good[..length]).is_err(), "{length}");
        }
        let minus_two = b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0";
        let error = Frontend::parse(b'B', minus_two).unwrap_err();
        assert_eq!(error, ProtocolError::FieldLength(-2));
        let beyond = b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0";
        assert!(matches!(
            Frontend::parse(b'B', beyond),
            Err(ProtocolError::Short { .. })
        ));
        let many = b"\0\0\0\0\xff\xff\0\0";
        assert!(matches!(
            Frontend::parse(b'B', many),
            Err(ProtocolError::Count { count: 65535, .. })
        ));
    }

    #[test]
    fn text_must_be_utf8() {
        let error = Frontend::parse(b'Q', b"select '\xc3\x28'\0").unwrap_err();
        assert_eq!(error.sqlstate(), "22021");
        assert!(error.to_string().ends_with("\"UTF8\": 0xc3"), "{error}");
        assert!(Frontend::parse(b'Q', b"select 1").is_err());
        assert!(Frontend::parse(b'Q', b"select 1\0x").is_err());
        assert_eq!(Frontend::parse(b'z', b""), Err(ProtocolError::Type(b'z')));
    }
}
