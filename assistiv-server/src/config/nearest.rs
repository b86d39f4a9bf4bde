//! The nearest known name of a misspelled one.

/// The candidate that `name` most likely meant; the first one of equals, `None` without candidates.
///
/// Compared without case and with `-` as `_`. A right last part in the wrong section counts as
/// near, since a forgotten section is as common as a typing error.
pub(super) fn nearest(name: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    let name = normal(name);
    candidates.min_by_key(|candidate| {
        let candidate = normal(candidate);
        let whole = distance(&name, &candidate);
        let last = distance(last_part(&name), last_part(&candidate)) + 1;
        (whole.min(last), whole)
    })
}

/// The environment separates with two underscores what the file separates with a dot.
fn normal(name: &str) -> String {
    name.to_lowercase().replace('-', "_").replace("__", ".")
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// The Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        for (right, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let changed = diagonal + usize::from(left != *right);
            diagonal = *cell;
            before = changed.min(*cell + 1).min(before + 1);
            *cell = before;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn among(name: &str, candidates: &[&str]) -> Option<String> {
        nearest(name, candidates.iter().map(|c| (*c).to_owned()))
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("größe", "grösse"), 2);
    }

    #[test]
    fn a_typing_error_finds_its_key() {
        let known = ["server.listen", "server.data_dir", "log.level"];
        assert_eq!(
            among("server.lisen", &known).as_deref(),
            Some("server.listen")
        );
        assert_eq!(
            among("Server.Data-Dir", &known).as_deref(),
            Some("server.data_dir")
        );
    }

    #[test]
    fn a_forgotten_section_finds_its_key() {
        let known = ["log.level", "server.listen"];
        assert_eq!(among("listen", &known).as_deref(), Some("server.listen"));
        let known = ["ASSISTIV_LOG__LEVEL", "ASSISTIV_SERVER__LISTEN"];
        assert_eq!(
            among("ASSISTIV__LISTEN", &known).as_deref(),
            Some("ASSISTIV_SERVER__LISTEN")
        );
    }

    #[test]
    fn nothing_is_near_nothing() {
        assert_eq!(among("x", &[]), None);
    }
}
