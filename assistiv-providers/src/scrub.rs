//! Makes a provider's text safe to show to a caller.

const REDACTED: &str = "[redacted]";
const CHARS_MAX: usize = 1000;
#[cfg(any(feature = "anthropic", feature = "openai"))]
const PARAM_BYTES_MAX: usize = 128;
/// A run of letters and digits from this length on may be a key, a digest or an id.
const RUN_MIN: usize = 32;
/// How keys and account ids of common providers begin.
const PREFIXES: [&str; 12] = [
    "sk-", "sk_", "xai-", "gsk_", "AIza", "pk-", "rk-", "org-", "proj_", "proj-", "req_", "req-",
];

/// The text without what looks like a key or an id of an account or request, on one line, at most 1000
/// characters long. `None` when nothing is left, or when it is a page of HTML.
pub(crate) fn message(text: &str) -> Option<String> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    if text.is_empty()
        || text.starts_with('<')
        || lower.contains("<html")
        || lower.contains("<!doctype")
    {
        return None;
    }
    let mut out = String::with_capacity(text.len().min(CHARS_MAX));
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let end = rest.find(|c| !is_token(c)).unwrap_or(rest.len());
        if end == 0 {
            out.push(if next.is_control() { ' ' } else { next });
            rest = &rest[next.len_utf8()..];
        } else {
            push_token(&mut out, &rest[..end]);
            rest = &rest[end..];
        }
    }
    if let Some((cut, _)) = out.char_indices().nth(CHARS_MAX) {
        out.truncate(cut);
    }
    Some(out)
}

/// The name of a parameter, when it looks like one.
#[cfg(any(feature = "anthropic", feature = "openai"))]
pub(crate) fn param(text: &str) -> Option<&str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.[]".contains(&b);
    let named = (1..=PARAM_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain);
    (named && !is_secret(text)).then_some(text)
}

fn is_token(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '+' | '*' | '.' | '\u{2026}')
}

fn push_token(out: &mut String, token: &str) {
    let word = token.trim_end_matches('.');
    out.push_str(if is_secret(word) { REDACTED } else { word });
    out.push_str(&token[word.len()..]);
}

fn is_secret(word: &str) -> bool {
    let begins = |prefix: &&str| {
        word.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    // Providers mask keys themselves, and leave a few characters at both ends.
    let masked = word.contains("***") || word.contains('\u{2026}');
    let run = |part: &str| {
        part.len() >= RUN_MIN
            && part.bytes().any(|b| b.is_ascii_digit())
            && part.bytes().any(|b| b.is_ascii_alphabetic())
    };
    masked || PREFIXES.iter().any(begins) || word.split('.').any(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_of_keys_and_ids_are_taken_out() {
        for (text, shown) in [
            (
                "Incorrect API key provided: sk-proj-********************abcd. You can find it.",
                "Incorrect API key provided: [redacted]. You can find it.",
            ),
            ("key xa***cd, sorry", "key [redacted], sorry"),
            ("key 'sk-...abcd'", "key '[redacted]'"),
            ("key=SK-abc", "key=[redacted]"),
            (
                "xai-abc in org-abc of proj_abc for req_7f3a",
                "[redacted] in [redacted] of [redacted] for [redacted]",
            ),
            ("0123456789abcdef0123456789abcdef!", "[redacted]!"),
            ("a\r\nb\u{7}c", "a  b c"),
            (
                "This model's maximum context length is 1047576 tokens.",
                "This model's maximum context length is 1047576 tokens.",
            ),
            (
                "missing field `content` in messages[0].tool_calls[1].function at line 1",
                "missing field `content` in messages[0].tool_calls[1].function at line 1",
            ),
            ("gr\u{fc}\u{df}e", "gr\u{fc}\u{df}e"),
        ] {
            assert_eq!(message(text).as_deref(), Some(shown));
        }
    }

    #[test]
    fn pages_and_nothing_are_not_shown() {
        for text in ["", "  ", "<html>", "<!DOCTYPE html>", "error: <HTML><body>"] {
            assert_eq!(message(text), None);
        }
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let text = "\u{e4} ".repeat(5000);
        assert_eq!(message(&text).unwrap().chars().count(), 1000);
    }

    #[test]
    fn only_names_are_parameters() {
        assert_eq!(param("messages[0].content"), Some("messages[0].content"));
        for text in ["", "a b", "a\n", "sk-abc", &"x".repeat(129)] {
            assert_eq!(param(text), None, "{text}");
        }
    }
}
