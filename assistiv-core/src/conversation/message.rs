//! What was said, in parts.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::memory::ProviderState;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Whoever runs the program: instructions.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
    /// A tool that the model has called.
    Tool,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub parts: Vec<Part<'a>>,
}

/// A part of a message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Part<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A picture.
    Image(Image<'a>),
    /// Sound, with its format: `wav` or `mp3`.
    Audio {
        /// The sound, as base64.
        base64: Cow<'a, str>,
        /// Its format.
        format: Cow<'a, str>,
    },
    /// A document.
    File {
        /// Its content.
        data: MediaData<'a>,
        /// Its name.
        name: Option<Cow<'a, str>>,
    },
    /// The model calls a tool.
    ToolCall(ToolCall<'a>),
    /// What a tool has given back.
    ToolResult(ToolResult<'a>),
    /// The model has thought.
    Reasoning(Reasoning<'a>),
    /// The model has refused to answer.
    Refusal(Cow<'a, str>),
    /// Everything up to here is worth keeping in the provider's cache.
    CacheBreakpoint(CacheLifetime),
}

/// A picture.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    /// Where it is.
    pub media: Media<'a>,
    /// How closely to look, in OpenAI's words.
    pub detail: Option<Cow<'a, str>>,
}

/// Something to look at.
#[derive(Clone, Debug)]
pub enum Media<'a> {
    /// At a URL, which the gateway never fetches.
    Url(Cow<'a, str>),
    /// In the request itself.
    Data(MediaData<'a>),
}

/// Content in the request itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaData<'a> {
    /// Its type, in lower case.
    pub media_type: Cow<'a, str>,
    /// Its bytes, as base64 of the standard alphabet.
    pub base64: Cow<'a, str>,
}

/// A call of a tool.
#[derive(Clone, Debug)]
pub struct ToolCall<'a> {
    /// The id by which the result refers to it.
    pub id: Cow<'a, str>,
    /// The tool.
    pub name: Cow<'a, str>,
    /// The arguments, a JSON object, as they were written.
    pub arguments: Cow<'a, RawValue>,
    /// What the provider wants to see again with the call.
    pub state: Option<ProviderState>,
}

/// The result of a tool.
#[derive(Clone, Debug)]
pub struct ToolResult<'a> {
    /// The call that it belongs to.
    pub call_id: Cow<'a, str>,
    /// The tool that was called; `None` when no message before has called it.
    pub name: Option<Cow<'a, str>>,
    /// What came out: texts, and pictures in dialects that have them.
    pub content: Vec<Part<'a>>,
    /// Whether the tool has failed, in dialects that say so.
    pub is_error: bool,
}

/// What a model has thought.
#[derive(Clone, Debug)]
pub struct Reasoning<'a> {
    /// As far as it can be read.
    pub text: Cow<'a, str>,
    /// What the provider wants to see again; without it the text alone is worth nothing to a provider.
    pub state: Option<ProviderState>,
}

/// How long a cache is to keep a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheLifetime {
    /// Five minutes.
    FiveMinutes,
    /// An hour.
    OneHour,
}

// === impl MediaData ===

impl<'a> MediaData<'a> {
    /// Reads a `data:` URL; `None` when it is none with base64 of a named type.
    pub fn from_url(url: &Cow<'a, str>) -> Option<Self> {
        let rest = strip_scheme(url)?;
        let comma = rest.find(',')?;
        let (head, data) = (&rest[..comma], &rest[comma + 1..]);
        let head = head.strip_suffix(";base64")?;
        let media_type = head.split(';').next()?.trim();
        let named = media_type.split_once('/').is_some_and(|(kind, name)| {
            let token = |text: &str| {
                !text.is_empty()
                    && text
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"-+._".contains(&b))
            };
            token(kind) && token(name)
        });
        if !named || !is_base64(data) {
            return None;
        }
        let at = url.len() - data.len();
        let base64 = match url {
            Cow::Borrowed(url) => Cow::Borrowed(&url[at..]),
            Cow::Owned(url) => Cow::Owned(url[at..].to_owned()),
        };
        Some(Self {
            media_type: media_type.to_ascii_lowercase().into(),
            base64,
        })
    }
}

fn strip_scheme(url: &str) -> Option<&str> {
    let scheme = url.get(..5)?;
    scheme
        .eq_ignore_ascii_case("data:")
        .then(|| url.get(5..))
        .flatten()
}

/// Whether a text is base64 of the standard alphabet. Its padding may be missing.
pub(super) fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    text.len() - digits.len() <= 2 && digits.len() % 4 != 1 && digits.bytes().all(alphabet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Option<(String, String)> {
        let data = MediaData::from_url(&Cow::Borrowed(url))?;
        Some((data.media_type.into_owned(), data.base64.into_owned()))
    }

    #[test]
    fn data_urls_name_a_type_and_hold_base64() {
        let some = |media_type: &str, data: &str| Some((media_type.to_owned(), data.to_owned()));
        assert_eq!(
            read("data:image/png;base64,iVBORw0KGgo="),
            some("image/png", "iVBORw0KGgo=")
        );
        assert_eq!(
            read("DATA:Image/PNG;name=a;base64,AAAA"),
            some("image/png", "AAAA")
        );
        assert_eq!(
            read("data:application/pdf;base64,"),
            some("application/pdf", "")
        );
        for url in [
            "https://example.com/a.png",
            "data:",
            "data:image/png,plain",
            "data:;base64,AAAA",
            "data:image;base64,AAAA",
            "data:image/p ng;base64,AAAA",
            "data:image/png;base64,AA-_",
            "data:image/png;base64,A===",
            "data:image/png;base64,AAAAA",
            "d\u{e4}ta:",
        ] {
            assert_eq!(read(url), None, "{url}");
        }
    }
}
