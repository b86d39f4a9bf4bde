//! Slugs of platforms.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// A platform's unique name for URLs and logs: `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct PlatformSlug(String);

/// The text is not a slug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 63 of a-z, 0-9 and `-`, not starting or ending with `-`")]
pub struct SlugError;

const LENGTH_MAX: usize = 63;

impl PlatformSlug {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A slug that resembles a name; a name without any letter or digit of ASCII gives `platform`.
    pub fn derived_from(name: &str) -> Self {
        let mut slug = String::new();
        for c in name.chars().flat_map(char::to_lowercase) {
            if c.is_ascii_alphanumeric() {
                slug.push(c);
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
        }
        slug.truncate(LENGTH_MAX - 5);
        let slug = slug.trim_end_matches('-');
        Self(if slug.is_empty() {
            "platform".to_owned()
        } else {
            slug.to_owned()
        })
    }

    /// The same slug with a number behind it, for when the plain one is taken.
    #[must_use]
    pub fn numbered(&self, number: u16) -> Self {
        let head: String = self.0.chars().take(LENGTH_MAX - 6).collect();
        Self(format!("{}-{number}", head.trim_end_matches('-')))
    }
}

impl FromStr for PlatformSlug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, SlugError> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let valid = (1..=LENGTH_MAX).contains(&text.len())
            && text.bytes().all(inner)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(SlugError)
        }
    }
}

impl fmt::Display for PlatformSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_slugs_are_slugs() {
        for name in ["My App", "  --x", "Ünïcode", "日本", &"long ".repeat(40)] {
            let slug = PlatformSlug::derived_from(name);
            assert_eq!(slug.as_str().parse(), Ok(slug.clone()), "{name}");
            assert!(slug.numbered(9999).as_str().parse::<PlatformSlug>().is_ok());
        }
        assert_eq!(PlatformSlug::derived_from("My App").as_str(), "my-app");
    }
}
