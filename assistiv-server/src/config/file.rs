//! From TOML to entries with their lines.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::entry::{Entry, unknown_key};
use super::problem::{Problem, ProblemKind};
use super::schema;
use super::source::Source;
use super::value::Raw;

/// Whether the file could be understood as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Whole,
    /// There were syntax errors, so what is missing may stand in the file.
    Broken,
}

/// The entries of the file, by line. A file with syntax errors has none: what a parser saves from
/// it would lead to further problems that are none.
pub(super) fn from_toml(
    path: &Path,
    text: &str,
    problems: &mut Vec<Problem>,
) -> (Vec<Entry>, Parsed) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader {
        path,
        text,
        entries: Vec::new(),
        problems: Vec::new(),
    };
    if errors.is_empty() {
        reader.table(document.get_ref(), &mut Vec::new());
    }
    for error in &errors {
        let source = reader.source(error.span().map_or(0, |span| span.start));
        // The whole error would print the line, which may hold a secret.
        let problem = Problem::new(ProblemKind::Syntax, source, error.message());
        // One slip often breaks the rest of its line too.
        if reader
            .problems
            .last()
            .is_none_or(|last| last.source != problem.source)
        {
            reader.problems.push(problem);
        }
    }
    reader.problems.sort_by(|a, b| a.source.cmp(&b.source));
    reader.entries.sort_by(|a, b| a.source.cmp(&b.source));
    problems.append(&mut reader.problems);
    (
        reader.entries,
        if errors.is_empty() {
            Parsed::Whole
        } else {
            Parsed::Broken
        },
    )
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    entries: Vec<Entry>,
    problems: Vec<Problem>,
}

// === impl Reader ===

impl Reader<'_> {
    fn table(&mut self, table: &DeTable<'_>, parts: &mut Vec<String>) {
        for (name, value) in table {
            parts.push(name.get_ref().to_string());
            self.value(name, value, parts);
            parts.pop();
        }
    }

    fn value(
        &mut self,
        name: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        parts: &mut Vec<String>,
    ) {
        let source = self.source(name.span().start);
        let shown = || parts.join(".").escape_debug().to_string();
        match (schema::by_parts(parts), value.get_ref()) {
            (Some(Ok(found)), value) => {
                self.entries.push(Entry {
                    found,
                    raw: raw(value),
                    source,
                });
            }
            (Some(Err(fault)), _) => {
                self.problems
                    .push(Problem::new(fault.kind, source, fault.message).about(shown()));
            }
            (None, DeValue::Table(table)) if !table.is_empty() => self.table(table, parts),
            (None, DeValue::Table(_)) if schema::is_section(parts) => {}
            (None, _) if schema::is_section(parts) => self.problems.push(
                Problem::new(ProblemKind::WrongType, source, "expected a table").about(shown()),
            ),
            (None, _) => self.problems.push(unknown_key(parts, source)),
        }
    }

    fn source(&self, offset: usize) -> Source {
        let before = self.text.as_bytes().iter().take(offset);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Source::File {
            path: self.path.to_owned(),
            line: Some(line),
        }
    }
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::String(text.to_string()),
        // Beyond 128 bits the digits are kept, to be refused as too large.
        DeValue::Integer(number) => Raw::Integer(
            i128::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string()),
        ),
        DeValue::Float(number) => Raw::Float(number.as_str().to_owned()),
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Datetime(_) => Raw::Other("a date or time"),
        DeValue::Table(_) => Raw::Other("a table"),
        DeValue::Array(items) => {
            let texts: Option<Vec<String>> = items
                .iter()
                .map(|item| item.get_ref().as_str().map(str::to_owned))
                .collect();
            texts.map_or(
                Raw::Other("an array with other items than strings"),
                Raw::List,
            )
        }
    }
}
