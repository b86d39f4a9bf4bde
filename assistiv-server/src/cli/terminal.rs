//! What the process says: answers on standard output, everything else on standard error.

use std::io::Write;

/// A line of the answer.
pub(super) fn line(text: &str) {
    // Whoever listened may have gone; there is nobody left to tell.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// One line of JSON, the whole answer of a `--json` command.
pub(super) fn json(value: &impl serde::Serialize) {
    if let Ok(text) = serde_json::to_string(value) {
        line(&text);
    }
}

/// A message for the person at the terminal.
pub(super) fn message(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
