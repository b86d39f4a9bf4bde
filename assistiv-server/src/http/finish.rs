//! What every response gets, whoever made it.

use http::header::{CONNECTION, CONTENT_LENGTH, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Response, Version, request};
use http_body::Body;

use super::intake::Unread;
use super::problem::RequestId;
use super::response::ResponseBody;
use super::{cors, problem, route};

/// What has to be remembered of a request until its response is there.
pub(super) struct Finish {
    is_head: bool,
    is_http1: bool,
    is_cross_origin: bool,
    has_origin: bool,
    is_messages: bool,
    unread: Unread,
}

// === impl Finish ===

impl Finish {
    pub(super) fn new(head: &request::Parts, unread: Unread) -> Self {
        Self {
            is_head: head.method == Method::HEAD,
            is_http1: head.version < Version::HTTP_2,
            is_cross_origin: route::is_cross_origin(head.uri.path()),
            has_origin: cors::is_asked(&head.headers),
            is_messages: problem::is_messages(head.uri.path()),
            unread,
        }
    }

    pub(super) fn apply(
        self,
        mut response: Response<ResponseBody>,
        id: &RequestId,
    ) -> Response<ResponseBody> {
        if self.is_head {
            if let Some(bytes) = response
                .body()
                .size_hint()
                .exact()
                .filter(|bytes| *bytes > 0)
            {
                response
                    .headers_mut()
                    .insert(CONTENT_LENGTH, HeaderValue::from(bytes));
            }
            *response.body_mut() = ResponseBody::empty();
        }
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::from_str(&id.0) {
            if self.is_messages {
                // Where Anthropic's clients look for it.
                headers.insert("request-id", value.clone());
            }
            headers.insert("x-request-id", value);
        }
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.is_cross_origin {
            cors::vary(headers);
            if self.has_origin {
                cors::decorate(headers);
            }
        }
        if self.is_http1 && self.unread.is_pending() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
