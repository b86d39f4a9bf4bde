//! Objects as the lines of a file.

use assistiv_core::json::Members;
use bytes::Bytes;
use csv::{Terminator, Writer, WriterBuilder};

use super::Format;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How objects are written.
#[derive(Clone, Copy)]
pub(super) struct Sheet {
    pub(super) format: Format,
    pub(super) columns: &'static [&'static str],
}

impl Sheet {
    /// What comes before the first object.
    pub(super) fn begin(&self) -> Result<Vec<u8>, Failure> {
        match self.format {
            Format::Csv => {
                let mut csv = writer();
                csv.write_record(self.columns)?;
                Ok(csv.into_inner()?)
            }
            Format::Ndjson => Ok(Vec::new()),
        }
    }

    /// Objects, each given as its JSON text.
    pub(super) fn lines(&self, objects: &[String]) -> Result<Vec<u8>, Failure> {
        if self.format == Format::Ndjson {
            let lines = objects.iter().flat_map(|object| [object, "\n"]);
            return Ok(lines.collect::<String>().into_bytes());
        }
        let mut csv = writer();
        for object in objects {
            let members = Members::parse_trusted(Bytes::copy_from_slice(object.as_bytes()))?;
            for column in self.columns {
                csv.write_field(cell(members.find(column))?)?;
            }
            csv.write_record(None::<&[u8]>)?;
        }
        Ok(csv.into_inner()?)
    }
}

fn writer() -> Writer<Vec<u8>> {
    WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new())
}

/// A member's value as a cell: nothing for null, a string without its quotes, anything else as its JSON text.
fn cell(value: Option<&str>) -> Result<String, Failure> {
    let text = match value {
        None => String::new(),
        Some(json) if json.starts_with('"') => serde_json::from_str(json)?,
        Some(json) => json.to_owned(),
    };
    Ok(guarded(text))
}

/// Text that a spreadsheet would take for a formula begins with an apostrophe.
fn guarded(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@']) && !is_number(&text) {
        format!("'{text}")
    } else {
        text
    }
}

fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    match text.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(object: &str) -> String {
        let sheet = Sheet {
            format: Format::Csv,
            columns: &["a", "b"],
        };
        String::from_utf8(sheet.lines(&[object.to_owned()]).unwrap()).unwrap()
    }

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        for (object, line) in [
            (r#"{"a":1.500000,"b":null}"#, "1.500000,\r\n"),
            (
                r#"{"b":"x, \"y\"\n","a":-0.000000001}"#,
                "-0.000000001,\"x, \"\"y\"\"\n\"\r\n",
            ),
            (
                r#"{"a":{"k":"v"},"b":true}"#,
                "\"{\"\"k\"\":\"\"v\"\"}\",true\r\n",
            ),
            (r#"{"a":"é"}"#, "é,\r\n"),
            ("{}", ",\r\n"),
        ] {
            assert_eq!(csv(object), line);
        }
    }

    #[test]
    fn formulas_are_disarmed_and_numbers_are_not() {
        for (text, cell) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-cmd", "'-cmd"),
            ("@x", "'@x"),
            ("-", "'-"),
            ("-1.", "'-1."),
            ("-1.5", "-1.5"),
            ("-3", "-3"),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!(guarded(text.to_owned()), cell);
        }
    }

    #[test]
    fn the_first_line_names_the_columns() {
        for (format, begin) in [(Format::Csv, "a,b\r\n"), (Format::Ndjson, "")] {
            let sheet = Sheet {
                format,
                columns: &["a", "b"],
            };
            assert_eq!(sheet.begin().unwrap(), begin.as_bytes());
        }
        let sheet = Sheet {
            format: Format::Ndjson,
            columns: &["a"],
        };
        let lines = sheet
            .lines(&["{\"a\":1}".to_owned(), "{}".to_owned()])
            .unwrap();
        assert_eq!(lines, b"{\"a\":1}\n{}\n");
    }
}
