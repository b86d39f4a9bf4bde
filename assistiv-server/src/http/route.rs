//! Which part of the server a path belongs to.

use assistiv_core::Operation;
use http::Method;

/// What a path means. Everything that is not served here belongs to the management router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Health,
    Ready,
    Metrics,
    /// A call of a model, or of an endpoint beside it.
    Inference(Operation),
    Models,
    /// One model; the name is as it stands in the path.
    Model(&'a str),
    /// One stored response, by its id.
    Response(&'a str),
    /// The input of one.
    InputItems(&'a str),
    Management,
    /// A path that no route can have.
    Nowhere,
}

const MODEL: &str = "/v1/models/";
const RESPONSE: &str = "/v1/responses/";

// === impl Route ===

impl<'a> Route<'a> {
    /// Finds the route of a path, exactly as received: nothing is normalised.
    pub(super) fn of(path: &'a str) -> Self {
        match path {
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/v1/models" => Self::Models,
            _ => match Operation::of(path) {
                Some(operation) => Self::Inference(operation),
                None if is_plain(path) => Self::below(path),
                None => Self::Nowhere,
            },
        }
    }

    fn below(path: &'a str) -> Self {
        // The only segment that may be encoded: clients encode the `/` in a model's name.
        if let Some(name) = path.strip_prefix(MODEL) {
            return Self::Model(name);
        }
        if hides_a_segment(path) {
            return Self::Nowhere;
        }
        match path.strip_prefix(RESPONSE).map(|rest| rest.split_once('/')) {
            None => Self::Management,
            Some(None) => Self::Response(&path[RESPONSE.len()..]),
            Some(Some((id, "input_items"))) => Self::InputItems(id),
            Some(Some(_)) => Self::Nowhere,
        }
    }

    /// The template, for logs.
    pub(super) fn template(self) -> &'static str {
        match self {
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
            Self::Metrics => "/metrics",
            Self::Inference(operation) => operation.path(),
            Self::Models => "/v1/models",
            Self::Model(_) => "/v1/models/{model}",
            Self::Response(_) => "/v1/responses/{response}",
            Self::InputItems(_) => "/v1/responses/{response}/input_items",
            Self::Management | Self::Nowhere => "-",
        }
    }

    /// The methods of the route, as in `Allow`; `None` where the management router knows.
    pub(super) fn methods(self) -> Option<&'static str> {
        match self {
            Self::Health | Self::Ready | Self::Metrics => Some("GET, HEAD"),
            Self::Models | Self::Model(_) | Self::InputItems(_) => Some("GET, HEAD, OPTIONS"),
            Self::Response(_) => Some("GET, HEAD, DELETE, OPTIONS"),
            Self::Inference(_) => Some("POST, OPTIONS"),
            Self::Management | Self::Nowhere => None,
        }
    }

    /// Whether the route takes the method. `OPTIONS` is answered before this is asked.
    pub(super) fn takes(self, method: &Method) -> bool {
        match self {
            Self::Health
            | Self::Ready
            | Self::Metrics
            | Self::Models
            | Self::Model(_)
            | Self::InputItems(_) => *method == Method::GET || *method == Method::HEAD,
            Self::Response(_) => {
                *method == Method::GET || *method == Method::HEAD || *method == Method::DELETE
            }
            Self::Inference(_) => *method == Method::POST,
            Self::Management | Self::Nowhere => true,
        }
    }
}

/// Whether browsers on other origins may call the path (`docs/api-design.md`).
pub(super) fn is_cross_origin(path: &str) -> bool {
    let within = |root: &str| {
        path.strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    Operation::of(path).is_some()
        || within("/v1/models")
        || within("/v1/responses")
        || within("/v1/me")
}

/// Paths match exactly: no empty segment, no trailing slash, no dots to resolve.
fn is_plain(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    rest.is_empty()
        || rest
            .split('/')
            .all(|segment| !matches!(segment, "" | "." | ".."))
}

/// An encoded slash or dot looks like one segment here and like another path to whoever decodes first. Only a
/// platform's own id of an end user may have them.
fn hides_a_segment(path: &str) -> bool {
    let hides = |w: &[u8]| w[0] == b'%' && w[1] == b'2' && matches!(w[2] | 0x20, b'f' | b'e');
    path.split('/')
        .filter(|segment| !segment.starts_with("external:"))
        .any(|segment| segment.as_bytes().windows(3).any(hides))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_exactly() {
        assert_eq!(Route::of("/v1/models"), Route::Models);
        assert_eq!(Route::of("/v1/models/a/b"), Route::Model("a/b"));
        assert_eq!(Route::of("/v1/models/a%2Fb"), Route::Model("a%2Fb"));
        assert_eq!(Route::of("/v1/platforms"), Route::Management);
        assert_eq!(Route::of("/v1/responses/a"), Route::Response("a"));
        assert_eq!(
            Route::of("/v1/responses/a/input_items"),
            Route::InputItems("a")
        );
        assert_eq!(Route::of("/V1/models"), Route::Management);
        assert_eq!(Route::of("/"), Route::Management);
        assert_eq!(Route::of("/v1/end-users/external:a%2Fb"), Route::Management);
        for odd in [
            "",
            "*",
            "//",
            "/v1/models/",
            "//v1/models",
            "/v1//models",
            "/v1/./models",
            "/v1/../v1/models",
            "/v1/models/a/",
            "/v1%2fmodels",
            "/v1/%2E%2e/models",
            "/healthz/",
            "/v1/responses/a/b",
            "/v1/responses/a%2fb",
        ] {
            assert_eq!(Route::of(odd), Route::Nowhere, "{odd}");
        }
    }

    #[test]
    fn management_paths_are_not_for_browsers() {
        for path in [
            "/v1/models",
            "/v1/models/a/b",
            "/v1/me",
            "/v1/me/budget",
            "/v1/chat/completions",
            "/v1/responses/a",
        ] {
            assert!(is_cross_origin(path), "{path}");
        }
        for path in [
            "/v1/platforms",
            "/v1/media",
            "/v1/modelsx",
            "/v1/admin/me",
            "/healthz",
            "/v1/chat/completionsx",
        ] {
            assert!(!is_cross_origin(path), "{path}");
        }
    }
}
