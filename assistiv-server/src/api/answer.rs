//! The envelopes of successful answers (`docs/api-design.md`).

use assistiv_core::store::{Listed, Page};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::refusal::{Handled, Refusal};

#[derive(Serialize)]
struct One<T> {
    data: T,
}

#[derive(Serialize)]
struct Many<T> {
    data: Vec<T>,
    total: u64,
    page: u32,
    limit: u32,
}

/// One object.
pub(super) fn one(status: StatusCode, data: impl Serialize) -> Handled {
    json(status, &One { data })
}

/// One object that holds a raw key: it must not stay in any cache.
pub(super) fn secret(status: StatusCode, data: impl Serialize) -> Handled {
    let mut response = one(status, data)?;
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// One page of a list.
pub(super) fn list<'a, T, V: Serialize>(
    listed: &'a Listed<T>,
    page: Page,
    view: impl Fn(&'a T) -> V,
) -> Handled {
    let data = listed.rows.iter().map(view).collect();
    json(
        StatusCode::OK,
        &Many {
            data,
            total: listed.total,
            page: page.page,
            limit: page.limit,
        },
    )
}

/// Nothing to say.
pub(super) fn none() -> Handled {
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn json(status: StatusCode, body: &impl Serialize) -> Result<Response, Refusal> {
    let body = serde_json::to_vec(body).map_err(Refusal::internal)?;
    Ok((status, [(CONTENT_TYPE, "application/json")], body).into_response())
}
